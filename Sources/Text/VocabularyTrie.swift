/// A trie over the UTF-8 bytes of the vocabulary, kept in one open-addressing table of its edges.
///
/// State 0 is the root. An edge is found by hashing (state, byte); the walk of a word touches one
/// slot a byte, and allocates nothing.
struct VocabularyTrie: Sendable {
  /// The root of words.
  static let root: UInt32 = 0
  /// What `step` gives where no entry continues.
  static let none: UInt32 = .max

  /// The state after `##`, where continuation pieces start; `none` without such entries.
  private(set) var continuation = Self.none
  /// Slots of (state, byte, next state): `key = state << 8 | byte`, `free` where empty.
  private(set) var slots: [Slot]
  /// The id of the entry that ends in a state, or -1.
  private(set) var ids: [Int32] = [-1]
  private(set) var shift: UInt32

  struct Slot: Sendable {
    var key: UInt32
    var next: UInt32
  }

  private static let free: UInt32 = .max

  /// An empty trie with room for entries of so many bytes together before it first grows.
  init(expectedBytes: Int) {
    let bits = max(8, UInt32(64 - (min(expectedBytes, 1 << 22)).leadingZeroBitCount))
    slots = Array(repeating: Slot(key: Self.free, next: Self.none), count: 1 << bits)
    shift = 32 - bits
  }

  /// Adds an entry unless it is there already; returns the id under which it is found.
  mutating func insert(_ entry: some Sequence<UInt8>, id: Int32) -> Int32 {
    var state = Self.root
    var depth = 0
    var isContinuation = true
    for byte in entry {
      let next = Self.step(state, byte, slots.span, shift)
      state = next == Self.none ? addState(after: state, byte) : next
      depth += 1
      isContinuation = isContinuation && (depth > 2 || byte == UInt8(ascii: "#"))
      if depth == 2, isContinuation { continuation = state }
    }
    if ids[Int(state)] < 0 { ids[Int(state)] = id }
    return ids[Int(state)]
  }

  /// The id of an entry, by its exact bytes.
  func id(of token: String) -> Int32? {
    var state = Self.root
    for byte in token.utf8 {
      state = Self.step(state, byte, slots.span, shift)
      if state == Self.none { return nil }
    }
    let id = ids[Int(state)]
    return id < 0 ? nil : id
  }

  /// The state after `byte`, or `none`.
  @inline(__always)
  static func step(_ state: UInt32, _ byte: UInt8, _ slots: Span<Slot>, _ shift: UInt32) -> UInt32 {
    let key = state << 8 | UInt32(byte)
    let mask = slots.count - 1
    var i = Int((key &* 0x9E37_79B1) >> shift)
    while true {
      let slot = slots[i]
      if slot.key == key { return slot.next }
      if slot.key == free { return none }
      i = (i + 1) & mask
    }
  }

  private mutating func addState(after state: UInt32, _ byte: UInt8) -> UInt32 {
    let new = UInt32(ids.count)
    // A key has 24 bits for the state: 16 million bytes of entries, forty times the largest
    // vocabulary in use.
    precondition(new < 1 << 24, "a vocabulary of \(new) trie states, where \(1 << 24) are the most")
    ids.append(-1)
    if ids.count * 2 > slots.count { grow() }
    place(Slot(key: state << 8 | UInt32(byte), next: new))
    return new
  }

  private mutating func place(_ slot: Slot) {
    var i = Int((slot.key &* 0x9E37_79B1) >> shift)
    while slots[i].key != Self.free { i = (i + 1) & (slots.count - 1) }
    slots[i] = slot
  }

  private mutating func grow() {
    let old = slots
    slots = Array(repeating: Slot(key: Self.free, next: Self.none), count: old.count * 2)
    shift -= 1
    for slot in old where slot.key != Self.free { place(slot) }
  }
}
