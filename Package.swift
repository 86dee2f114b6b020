// swift-tools-version: 6.2
import PackageDescription

/// What every Swift target is held to.
let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),  // Span-returning members of the flat arenas
  .treatAllWarnings(as: .error),
]

/// The instruction set of release builds: the machine at hand, unless LOCKSTEP_MARCH names a baseline
/// for a cluster of unlike nodes, such as `x86-64-v3` (AVX2) or `x86-64-v4` (AVX-512).
let march = Context.environment["LOCKSTEP_MARCH"] ?? "native"

/// `-march` drives Swift's own code generation through the clang importer; `-fno-math-errno` lets
/// `squareRoot()` vectorise (an AdamW loop is seven times slower without it).
let numeric =
  strict + [
    .unsafeFlags(
      ["-Xcc", "-march=\(march)", "-Xcc", "-fno-math-errno"], .when(configuration: .release))
  ]

let package = Package(
  name: "lockstep",
  products: [.executable(name: "lockstep", targets: ["lockstep"])],
  dependencies: [
    // The command line: parsing, help, completion.
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    // Recipe files.
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    // SHA-256 of weights, checkpoints and data.
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    // HTTP of `lockstep serve`: sockets without a thread each, and a parser that is used everywhere.
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
  ],
  targets: [
    // C libraries. Each is imported by exactly one Swift target.
    .systemLibrary(name: "CMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
    .systemLibrary(
      name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    // What Swift has no word for: a prefetch, and which instructions code is made for.
    .systemLibrary(name: "CVector"),

    // Three parts that know nothing of one another.
    .target(name: "Text", swiftSettings: numeric),
    .target(name: "Model", dependencies: ["COpenBLAS", "CVector"], swiftSettings: numeric),
    .target(name: "Collective", dependencies: ["CMPI"], swiftSettings: numeric),

    // What joins them.
    .target(
      name: "Trainer",
      dependencies: [
        "Text", "Model", "Collective",
        .product(name: "Yams", package: "Yams"),
        .product(name: "Crypto", package: "swift-crypto"),
      ],
      swiftSettings: numeric),
    .executableTarget(
      name: "lockstep",
      dependencies: [
        "Trainer", "Text", "Model", "Collective",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ],
      path: "Sources/launcher",
      swiftSettings: strict),

    // Tests mirror the targets; TestSupport finds fixtures and holds tolerances.
    .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
    .testTarget(name: "TextTests", dependencies: ["Text", "TestSupport"], swiftSettings: numeric),
    .testTarget(
      name: "ModelTests", dependencies: ["Model", "TestSupport"], swiftSettings: numeric),
    .testTarget(
      name: "CollectiveTests", dependencies: ["Collective", "TestSupport"], swiftSettings: numeric),
    .testTarget(
      name: "TrainerTests",
      dependencies: ["Trainer", "Text", "Model", "Collective", "TestSupport"],
      swiftSettings: numeric),
    .testTarget(
      name: "LauncherTests", dependencies: ["lockstep", "TestSupport"], swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)
