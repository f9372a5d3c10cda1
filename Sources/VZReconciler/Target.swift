public import VZIsolation
internal import VZManifest
public import VZModel
public import VZPlan

extension Node {
    /// A container and what shall become of it.
    public struct Target: Equatable, Sendable {
        public var record: ContainerRecord
        /// The manifest in force: the accepted one, with what administrators said.
        public var spec: ContainerSpec
        public var overrides: Overrides
        public var desired: DesiredContainer
        /// How cpuunits become weights, of all containers of the node when it was looked at.
        public var cpuScale: CPUScale
        /// Why the last accepted manifest is in force and not the file as it stands.
        public var lastKnownGood: String?
        /// Why its removal or restart waits for an acknowledgement.
        public var pruneHeld: String?
        /// Why its record, which is there, cannot be read: it is left alone.
        public var unreadable: String?
        /// Why its record as it stands here could not be written.
        var unwritten: Unwritten?
    }

    /// A record that is to be written and could not be.
    struct Unwritten: Equatable, Sendable {
        var reason: String
        /// Nothing of the container is remembered yet: neither its CTID nor its ids are its own before that.
        var isNew: Bool
    }
}

extension Node.Target {
    /// What follows from a record and what was said, on a host. Pure.
    /// - Parameters:
    ///   - unreadable: why the record is one that was made up in place of its own.
    ///   - brake: why what disturbs must wait, and what lets it happen.
    init(
        _ record: ContainerRecord, _ overrides: Overrides, lastKnownGood: String?, pruneHeld: String?, unreadable: String? = nil,
        brake: String?, on host: HostCapabilities
    ) {
        let spec = overrides.spec(over: record.accepted)
        // What is on trial stays on trial, whatever becomes of the files.
        let isRemoved = record.retired && overrides.trial == nil
        let state = isRemoved ? .stopped : overrides.state?.value ?? spec.state
        let reason: Reason = isRemoved ? .removed : overrides.state != nil ? .override : .wanted
        let source = isRemoved ? "file removed" : "\(record.source.file):\(record.source.line)"
        var desired = DesiredContainer(
            ctid: record.ctid, name: record.name, source: source, state: state, stateReason: reason, template: spec.template,
            start: StartParameters(init: spec.`init`, env: spec.env),
            wish: Facets.wish(for: spec, on: host.host(of: record.ctid.description)))
        desired.disruption = spec.lifecycle.disruption
        desired.brake = brake
        desired.ignoredDrift = spec.lifecycle.ignoreDrift.map { String($0.dropFirst()).replacing("/", with: ".") }
        let lost = unreadable.map { "its record is there and cannot be read, and nothing is done before it can: \($0)" }
        desired.hold = lost ?? overrides.holdText(name: record.name) ?? (spec.lifecycle.hold ? "lifecycle.hold is set" : nil)
        // What is left running may still be stopped by hand.
        let isLeft = spec.lifecycle.deletion != .ignore || overrides.state?.value != .stopped
        desired.removal = isRemoved && isLeft ? spec.lifecycle.deletion : nil
        self.init(
            record: record, spec: spec, overrides: overrides, desired: desired, cpuScale: host.cpuScale,
            lastKnownGood: lastKnownGood, pruneHeld: pruneHeld, unreadable: unreadable)
    }

    /// What would be done, given what the container was seen to be. Pure.
    func plan(from observed: ObservedContainer, lastSet: () -> [String: Setting.Value]) -> Plan.Container {
        var observed = observed
        // Only what is to be changed is worth looking up.
        if observed.cpuunits != desired.wish.cpuunits {
            observed.settings = Facets.told(observed.settings, by: cpuScale, lastSet: lastSet)
        }
        return Plan.Container(
            ctid: record.ctid, name: record.name, source: desired.source,
            changes: Planner.changes(from: observed, to: desired, lastSet: lastSet),
            unsupported: desired.state != .stopped ? desired.wish.unsupported : [], problem: lastKnownGood ?? pruneHeld)
    }
}

extension Node {
    /// The host for the containers that shall be in force together: their cpuunits have one scale, whichever of them is looked at.
    ///
    /// What shall not run takes part in nothing, and whatever is left alone without a manifest keeps what it has.
    static func scaled(
        _ host: HostCapabilities, for records: some Sequence<ContainerRecord>, said: [ContainerID: Overrides]
    ) -> HostCapabilities {
        let units = records.compactMap { record -> Int? in
            let said = said[record.ctid]
            guard !record.retired || said?.trial != nil else { return nil }
            let spec = said?.spec(over: record.accepted) ?? record.accepted
            return (said?.state?.value ?? spec.state) == .running ? spec.cpuunits : nil
        }
        return host.scaled(for: units)
    }
}

extension ObservedContainer {
    fileprivate var cpuunits: Setting.Value? { settings.first { $0.field == "cpuunits" }?.kernelValue }
}

extension Wish {
    fileprivate var cpuunits: Setting.Value? { settings.first { $0.field == "cpuunits" }?.kernelValue }
}
