internal import CMPI

/// The MPI library that this program is linked with.
package enum MPILibrary {
  /// Its name and version, one line; may be read before MPI is initialised.
  ///
  /// The corresponding C function is `MPI_Get_library_version` (MPI 3.1, section 8.1.1).
  package static var version: String? {
    var bytes = [CChar](repeating: 0, count: Int(MPI_MAX_LIBRARY_VERSION_STRING))
    var length: Int32 = 0
    guard MPI_Get_library_version(&bytes, &length) == MPI_SUCCESS else { return nil }
    let text = String(
      decoding: bytes.prefix(Int(length)).map(UInt8.init(bitPattern:)), as: UTF8.self)
    return text.split { $0 == "\n" || $0 == "," }.first.map(String.init)
  }
}
