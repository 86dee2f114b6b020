internal import CMPI
enum MPIDoor { static var version: Int32 { var v: Int32 = 0, s: Int32 = 0; _ = MPI_Get_version(&v, &s); return v } }
