import Collective
import Testing

/// Who keeps the memory of an operation, and for how long.
@Suite(.serialized) struct MemoryTests {
  private final class Owner {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 4_096, alignment: 16)
    init() { bytes.initializeMemory(as: UInt8.self, repeating: 7) }
    deinit { bytes.deallocate() }
  }

  @Test func `the owner of a finished operation's memory is released`() throws {
    let network = InMemoryNetwork(size: 2)
    let engines = (0..<2).map {
      CollectiveEngine(network.communicator(rank: $0), settings: .cooperative())
    }
    weak var released: Owner?
    do {
      let owner = Owner()
      released = owner
      let other = Owner()
      let operations = try [
        engines[0].broadcast(owner.bytes, keeping: owner),
        engines[1].broadcast(other.bytes, keeping: other),
      ]
      #expect(!operations[0].isFinished)
      while !operations.allSatisfy(\.isFinished) { for engine in engines { engine.poll() } }
    }
    #expect(released == nil)
    withExtendedLifetime(engines) {}
  }

  @Test func `after a failure the owner of an unfinished operation's memory outlives the engine`()
    throws
  {
    let network = InMemoryNetwork(size: 2)
    weak var kept: Owner?
    weak var refused: Owner?
    do {
      var settings = CollectiveEngine.Settings.cooperative()
      settings.agreementSeconds = 0.05
      let engine = CollectiveEngine(network.communicator(rank: 0), settings: settings)
      do {
        let owner = Owner()
        kept = owner
        _ = try engine.broadcast(owner.bytes, keeping: owner)
      }
      #expect(kept != nil)
      engine.fail("no", exitCode: 70)
      do {
        // Nothing of it was given to the transport.
        let owner = Owner()
        refused = owner
        _ = try engine.broadcast(owner.bytes, keeping: owner)
      }
      #expect(engine.finish(exitCode: 70) == 70)
    }
    #expect(kept?.bytes.allSatisfy { $0 == 7 } == true)
    #expect(refused == nil)
  }
}
