import Testing

/// The programs for the kernel, as they are kept beside their sources.
@Suite struct BeancounterProgramTests {
    /// Whoever reads the sources knows what runs in the kernel: compiled again they are the same bytes.
    @Test func compiledAgainTheyAreTheSame() throws {
        let package = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }
        let place = "\(package)/Sources/CBPF"
        let script = """
            set -e
            new=$(mktemp -d)
            trap 'rm -rf "$new"' EXIT
            '\(place)/programs/build' "$new"
            for file in beancounters.bpf.o version.h; do cmp "$new/$file" '\(place)/objects/'$file; done
            # And in another place, from another name.
            mkdir "$new/copy" && cp -r '\(place)/include' "$new/include" && cp -r '\(place)/programs' "$new/copy/other"
            mv "$new/include" "$new/copy/include"
            "$new/copy/other/build" "$new"
            cmp "$new/beancounters.bpf.o" '\(place)/objects/beancounters.bpf.o'
            echo same
            """
        #expect(try Child(["bash", "-c", "exec 2>&1\n" + script]).output() == "same")
    }
}
