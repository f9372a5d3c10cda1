// swift-tools-version: 6.2
import PackageDescription

/// One set of rules for every Swift target: Swift 6 mode, no warnings, explicit `any`, imports internal unless said otherwise.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let serviceLifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let asyncAlgorithms = Target.Dependency.product(name: "AsyncAlgorithms", package: "swift-async-algorithms")

let package = Package(
    name: "vz",
    products: [
        .executable(name: "vzd", targets: ["vzd"]),
        .executable(name: "vzctl", targets: ["vzctl"]),
        .executable(name: "vz-keeper", targets: ["vz-keeper"]),
        .library(name: "VZManifest", targets: ["VZModel", "VZManifest"]),
        .library(name: "VZNode", targets: ["VZPlan", "VZKernel", "VZIsolation", "VZReconciler"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-async-algorithms", from: "1.1.4"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // System libraries: one module map each, nothing else.
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CInotifyTools", providers: [.apt(["libinotifytools0-dev"])]),
        .systemLibrary(name: "CCap", pkgConfig: "libcap", providers: [.apt(["libcap-dev"])]),

        // The kernel boundary.
        .target(
            name: "CLinux",
            cSettings: [.treatAllWarnings(as: .error), .enableWarning("all"), .enableWarning("extra")],
            linkerSettings: [.linkedLibrary("cap")]),
        // libbpf, loaded at run time, and the programs that it loads, compiled (Tests/bpf).
        .target(
            name: "CBPF", exclude: ["programs", "objects"],
            cSettings: [.treatAllWarnings(as: .error), .enableWarning("all"), .enableWarning("extra")]),
        .target(name: "VZKernel", dependencies: ["CLinux", "CCap", "CBPF"], swiftSettings: strict),

        // Pure values: no I/O, nothing of Linux.
        .target(name: "VZModel", swiftSettings: strict),
        .target(name: "VZManifest", dependencies: ["VZModel", "CYAML"], swiftSettings: strict),
        .target(name: "VZPlan", dependencies: ["VZModel"], swiftSettings: strict),

        // OpenVZ's meaning on Linux' mechanisms, and the loop that drives it.
        .target(name: "VZIsolation", dependencies: ["VZModel", "VZPlan", "VZKernel", "CBPF"], swiftSettings: strict),
        .target(
            name: "VZReconciler",
            dependencies: [
                "VZModel", "VZManifest", "VZPlan", "VZKernel", "VZIsolation", "CInotifyTools",
                logging, serviceLifecycle, unixSignals, asyncAlgorithms,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "vzd",
            dependencies: ["VZReconciler", argumentParser, logging, serviceLifecycle, unixSignals],
            swiftSettings: strict),
        .executableTarget(
            name: "vzctl",
            dependencies: ["VZModel", "VZManifest", "VZPlan", "VZKernel", "VZIsolation", "VZReconciler", argumentParser, logging],
            exclude: ["Manual"], swiftSettings: strict),

        // The one process that outlives vzctl and vzd: small, and in C, since its two halves share a table of open files.
        .executableTarget(
            name: "vz-keeper",
            cSettings: [
                .headerSearchPath("../CLinux/include"), .treatAllWarnings(as: .error), .enableWarning("all"),
                .enableWarning("extra"),
            ]),

        .testTarget(name: "VZModelTests", dependencies: ["VZModel"], swiftSettings: strict),
        .testTarget(
            name: "VZManifestTests", dependencies: ["VZModel", "VZManifest"], exclude: ["Fixtures", "OpenVZSamples", "pyyaml.py"],
            swiftSettings: strict),
        .testTarget(name: "VZPlanTests", dependencies: ["VZModel", "VZPlan"], swiftSettings: strict),
        .testTarget(
            name: "VZReconcilerTests",
            dependencies: ["VZModel", "VZManifest", "VZPlan", "VZIsolation", "VZReconciler", logging, serviceLifecycle],
            swiftSettings: strict),
        // Root and a real kernel: run natively (cgroup v1) and in the virtual machine (cgroup v2).
        .testTarget(
            name: "KernelTests",
            dependencies: ["VZModel", "VZPlan", "VZKernel", "VZIsolation", "VZReconciler", logging],
            path: "Tests/Kernel", swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)
