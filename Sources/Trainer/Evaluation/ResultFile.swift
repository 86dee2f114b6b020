import Foundation
import Model

/// Where predictions go: a file that appears when it is complete, or a pipe or device into which they are written as they come.
///
/// What a link leads to is replaced, not the link.
final class ResultFile {
  private enum Way {
    case file(DurableFile)
    case stream(Int32)
  }

  private let name: String
  private let way: Way
  /// Of a stream, what is gathered for one call of the system.
  private var gathered = Data()

  /// Opens `output`, to hold what is made of the rows of `input`.
  ///
  /// - Throws: `RunError` where they are the same file.
  init(_ output: URL, input: URL) throws {
    name = output.path
    if let standard = ["/dev/stdout": Int32(1), "/dev/stderr": 2][output.path] {
      way = .stream(dup(standard))
      return
    }
    var target = stat()
    guard stat(output.path, &target) == 0, target.st_mode & S_IFMT != S_IFDIR else {
      way = .file(try DurableFile(output))
      return
    }
    guard target.st_mode & S_IFMT == S_IFREG else {
      let descriptor = open(output.path, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw RunError.system(output.path, "written", errno) }
      way = .stream(descriptor)
      return
    }
    var source = stat()
    if stat(input.path, &source) == 0, source.st_dev == target.st_dev,
      source.st_ino == target.st_ino
    {
      throw RunError(
        .usage, "\(output.path) is the file that is read. Give another file to write.")
    }
    way = .file(try DurableFile(output.resolvingSymlinksInPath()))
  }

  deinit { if case .stream(let descriptor) = way { close(descriptor) } }

  func write(_ line: String) throws {
    switch way {
    case .file(let file): try file.write([UInt8]((line + "\n").utf8))
    case .stream:
      gathered.append(contentsOf: (line + "\n").utf8)
      if gathered.count >= 1 << 16 { try flush() }
    }
  }

  /// Everything is written, and a file has its name.
  func commit() throws {
    switch way {
    case .file(let file): try file.commit()
    case .stream: try flush()
    }
  }

  private func flush() throws {
    guard case .stream(let descriptor) = way else { return }
    try FileDescriptorOutput.write(gathered, to: descriptor, name: name)
    gathered.removeAll(keepingCapacity: true)
  }
}
