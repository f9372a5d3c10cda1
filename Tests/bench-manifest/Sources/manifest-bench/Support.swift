internal import Glibc

/// Ends the program with exit status 1.
func fail() -> Never { exit(1) }

/// Microseconds of processor time that the program has used: what else runs on the machine does not count.
func processorTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1e6 + Double(time.tv_nsec) / 1e3
}
