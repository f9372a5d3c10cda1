// swift-tools-version: 6.2
import PackageDescription

/// The rules of the package that is measured.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

// A package of its own, so that nobody who builds or tests vz builds its benchmarks.
let package = Package(
    name: "vz-bench",
    dependencies: [
        .package(name: "vz", path: "../..")
    ],
    targets: [
        .executableTarget(
            name: "vz-bench",
            dependencies: [
                .product(name: "VZManifest", package: "vz"),
                .product(name: "VZNode", package: "vz"),
            ],
            swiftSettings: strict)
    ],
    swiftLanguageModes: [.v6]
)
