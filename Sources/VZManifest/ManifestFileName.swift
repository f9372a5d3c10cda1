/// Which files of a manifest directory are manifests.
public enum ManifestFileName {
    /// Whether a file of this name, without a directory, is read as a manifest: `*.yaml`, `*.yml` or `*.json`, but no hidden file
    /// and nothing that an editor or a package manager left behind.
    public static func isManifest(_ name: String) -> Bool {
        // The suffix first, and a `-` before a word that has one: asked of every name of a directory, at every look.
        guard suffixes.contains(where: { name.hasSuffix($0) && name.utf8.count > $0.utf8.count }), !name.hasPrefix("."),
            !name.utf8.contains(where: { $0 == 0 || $0 == UInt8(ascii: "/") })
        else { return false }
        // `#web.yaml#` and `.#web.yaml` are Emacs' own, `web.dpkg-new.yaml` is dpkg's in a file that had a suffix of its own.
        return !name.hasPrefix("#") && !(name.utf8.contains(UInt8(ascii: "-")) && name.contains(".dpkg-"))
    }

    /// The name of the directory whose manifests are merged into those of a file: `web.yaml.d` for `web.yaml`.
    public static func dropIns(of name: String) -> String { name + ".d" }

    /// The manifest's name that a directory of drop-ins belongs to; `nil` when it is none.
    public static func manifest(ofDropIns name: String) -> String? {
        guard name.hasSuffix(".d"), case let manifest = String(name.dropLast(2)), isManifest(manifest) else { return nil }
        return manifest
    }

    private static let suffixes = [".yaml", ".yml", ".json"]
}
