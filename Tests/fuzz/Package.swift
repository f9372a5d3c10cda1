// swift-tools-version: 6.2
import PackageDescription

// A package of its own: libFuzzer takes flags that a package which others depend on may not have.
let package = Package(
    name: "vz-fuzz",
    dependencies: [.package(name: "vz", path: "../..")],
    targets: [
        .target(name: "CFuzzer"),
        .executableTarget(
            name: "fuzz-manifest", dependencies: ["CFuzzer", .product(name: "VZManifest", package: "vz")],
            swiftSettings: [.treatAllWarnings(as: .error), .unsafeFlags(["-sanitize=fuzzer,address"])],
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])]),
    ],
    swiftLanguageModes: [.v6]
)
