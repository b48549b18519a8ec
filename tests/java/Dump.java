import java.io.BufferedWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.compression.CompressorFactory;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.exception.RemotingException;

/**
 * Reads every queue of a topic from its minimum to its maximum offset and writes a JSON line per queue, each followed by
 * one per message, sorted by broker, queue and offset. Both the body as stored (perhaps compressed) and the body as a consumer sees it are hashed.
 *
 * <p>Options: --name-server, --topic, --out FILE. Ends with 0 when every queue was read to its end, and prints one JSON
 * line per queue and a last one for the process.
 */
public final class Dump {
    private static final int ATTEMPTS = 40;

    private Dump() {
    }

    public static void main(String[] args) throws Exception {
        Arguments arguments = new Arguments(args);
        String topic = arguments.text("topic");
        long started = System.nanoTime();
        long total = 0;
        DefaultMQPullConsumer consumer = arguments.puller("dump");
        try (BufferedWriter out = Files.newBufferedWriter(Path.of(arguments.text("out")), StandardCharsets.US_ASCII)) {
            List<MessageQueue> queues = new ArrayList<>(
                retry(() -> consumer.fetchSubscribeMessageQueues(topic)));
            queues.sort(Comparator.comparing(MessageQueue::getBrokerName).thenComparing(MessageQueue::getQueueId));
            for (MessageQueue queue : queues) {
                total += queue(consumer, queue, out);
            }
        } finally {
            consumer.shutdown();
        }
        System.out.println(new Json()
            .put("messages", total)
            .put("seconds", (System.nanoTime() - started) / 1e9)
            .put("cpu_seconds", Usage.cpuSeconds()));
        System.exit(0);
    }

    private static long queue(DefaultMQPullConsumer consumer, MessageQueue queue, BufferedWriter out) throws Exception {
        long minimum = retry(() -> consumer.minOffset(queue));
        long maximum = retry(() -> consumer.maxOffset(queue));
        out.write("{\"header\":" + new Json().put("broker", queue.getBrokerName()).put("queue", queue.getQueueId())
            .put("minimum", minimum).put("maximum", maximum) + "}");
        out.newLine();
        long next = minimum;
        long count = 0;
        int empty = 0;
        while (next < maximum) {
            long from = next;
            PullResult result = retry(() -> consumer.pull(queue, "*", from, 32, 10_000));
            switch (result.getPullStatus()) {
                case FOUND:
                    for (MessageExt message : result.getMsgFoundList()) {
                        if (message.getQueueOffset() >= maximum) {
                            break;
                        }
                        out.write("{\"message\":" + line(message, queue) + "}");
                        out.newLine();
                        count++;
                    }
                    next = result.getNextBeginOffset();
                    empty = 0;
                    break;
                case OFFSET_ILLEGAL:
                    throw new IllegalStateException(queue + " moved below us at " + from + ": " + result);
                default:
                    next = Math.max(from, result.getNextBeginOffset());
                    empty++;
                    if (empty > ATTEMPTS) {
                        throw new IllegalStateException(queue + " gives nothing at " + from + ": " + result);
                    }
                    Thread.sleep(50);
            }
        }
        System.out.println(new Json().put("broker", queue.getBrokerName()).put("queue", queue.getQueueId())
            .put("minimum", minimum).put("maximum", maximum).put("messages", count));
        return count;
    }

    private static String line(MessageExt message, MessageQueue queue) throws Exception {
        byte[] stored = message.getBody() == null ? new byte[0] : message.getBody();
        int sysFlag = message.getSysFlag();
        byte[] body = stored;
        if ((sysFlag & MessageSysFlag.COMPRESSED_FLAG) != 0) {
            body = CompressorFactory.getCompressor(MessageSysFlag.getCompressionType(sysFlag)).decompress(stored);
        }
        Map<String, String> properties = new HashMap<>(message.getProperties());
        // The client adds these two after the pull: they are not part of the stored message.
        properties.remove(MessageConst.PROPERTY_MIN_OFFSET);
        properties.remove(MessageConst.PROPERTY_MAX_OFFSET);
        return new Json()
            .put("broker", queue.getBrokerName())
            .put("queue", message.getQueueId())
            .put("offset", message.getQueueOffset())
            .put("stored_length", stored.length)
            .put("stored_sha256", sha256(stored))
            .put("crc_valid", UtilAll.crc32(stored) == message.getBodyCRC())
            .put("body_length", body.length)
            .put("body_sha256", sha256(body))
            .put("flag", message.getFlag())
            .put("sys_flag", sysFlag)
            .put("born_timestamp", message.getBornTimestamp())
            .put("born_host", message.getBornHost().toString())
            .put("store_timestamp", message.getStoreTimestamp())
            .put("reconsume_times", message.getReconsumeTimes())
            .put("prepared_transaction_offset", message.getPreparedTransactionOffset())
            .put("keys", message.getKeys())
            .put("tags", message.getTags())
            .put("properties", properties)
            .toString();
    }

    private static String sha256(byte[] bytes) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    }

    /** A request to a broker; each may fail while a broker restarts. */
    interface Request<T> {
        T run() throws MQClientException, RemotingException, MQBrokerException, InterruptedException;
    }

    static <T> T retry(Request<T> request) throws Exception {
        for (int attempt = 1; ; attempt++) {
            try {
                return request.run();
            } catch (MQClientException | RemotingException | MQBrokerException error) {
                if (attempt == ATTEMPTS) {
                    throw error;
                }
                Thread.sleep(500);
            }
        }
    }
}
