import java.lang.management.ManagementFactory;

/** What this process has used so far. */
final class Usage {
    private Usage() {
    }

    static double cpuSeconds() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
            .getProcessCpuTime() / 1e9;
    }
}
