import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.compression.CompressorFactory;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageClientIDSetter;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.protocol.ResponseCode;

/**
 * Sends the fidelity set: at least one message of every kind that a copy could get wrong. Each message names its kind in
 * the property "case", where it may have properties at all. Waits until delayed and transactional messages are visible.
 *
 * <p>Options: --name-server, --topic, --seed NUMBER (same seed, same bodies), --timer true|false (arbitrary delays,
 * which brokers older than 5.0 do not have). Prints one JSON line with what was sent and what is visible.
 */
public final class Produce {
    private static final int LARGEST_BODY = 4 << 20;

    private final Arguments arguments;
    private final String topic;
    private final Random random;
    private final DefaultMQProducer producer;
    private final List<MessageQueue> queues;
    private int turn;
    private long expected;

    private Produce(Arguments arguments) throws Exception {
        this.arguments = arguments;
        this.topic = arguments.text("topic");
        this.random = new Random(arguments.number("seed", 1));
        this.producer = arguments.producer("causeway-fidelity", "fidelity");
        this.queues = new ArrayList<>(Dump.retry(() -> producer.fetchPublishMessageQueues(topic)));
        this.queues.sort(Comparator.comparing(MessageQueue::getBrokerName).thenComparing(MessageQueue::getQueueId));
    }

    public static void main(String[] args) throws Exception {
        Produce produce = new Produce(new Arguments(args));
        long before = produce.visible();
        produce.bodies();
        produce.compressed();
        produce.properties();
        produce.headers();
        produce.batches();
        produce.ordered();
        produce.transactions();
        produce.delayed();
        long wanted = before + produce.expected;
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (produce.visible() < wanted && System.nanoTime() < deadline) {
            Thread.sleep(100);
        }
        long visible = produce.visible() - before;
        System.out.println(new Json().put("expected", produce.expected).put("visible", visible));
        System.exit(visible == produce.expected ? 0 : 1);
    }

    private long visible() throws Exception {
        long sum = 0;
        for (MessageQueue queue : queues) {
            sum += Dump.retry(() -> producer.maxOffset(queue)) - Dump.retry(() -> producer.minOffset(queue));
        }
        return sum;
    }

    private MessageQueue next() {
        return queues.get(turn++ % queues.size());
    }

    private Message message(String kind, byte[] body) {
        Message message = new Message(topic, "tag-" + kind, "key-" + kind + "-" + turn, body);
        message.putUserProperty("case", kind);
        return message;
    }

    private byte[] bytes(int length) {
        byte[] bytes = new byte[length];
        random.nextBytes(bytes);
        return bytes;
    }

    private byte[] text(int length) {
        StringBuilder text = new StringBuilder(length + 32);
        while (text.length() < length) {
            text.append("order ").append(random.nextInt(1000)).append(" paid; ");
        }
        return text.substring(0, length).getBytes(StandardCharsets.US_ASCII);
    }

    private void send(DefaultMQProducer by, Message message, MessageQueue queue) throws Exception {
        accept(() -> by.send(message, queue), 1);
    }

    /** One send; a busy broker has stored nothing, so it is asked again. */
    interface Send {
        SendResult run() throws Exception;
    }

    private void accept(Send send, int messages) throws Exception {
        for (int attempt = 1; ; attempt++) {
            try {
                accept(send.run(), messages);
                return;
            } catch (MQBrokerException error) {
                if (error.getResponseCode() != ResponseCode.SYSTEM_BUSY || attempt == 20) {
                    throw error;
                }
                Thread.sleep(100);
            }
        }
    }

    private void accept(SendResult result, int messages) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            throw new IllegalStateException("not acknowledged: " + result);
        }
        expected += messages;
    }

    private void bodies() throws Exception {
        byte[] everyByte = new byte[1024];
        for (int i = 0; i < everyByte.length; i++) {
            everyByte[i] = (byte) i;
        }
        send(producer, message("every-byte", everyByte), next());
        for (int length : new int[] {1, 4095, 4096, 4097, 65_536}) {
            send(producer, message("length-" + length, bytes(length)), next());
        }
        send(producer, message("separators", new byte[] {1, 2, 0, 1, 2, 2, 1}), next());
        send(producer, message("largest", bytes(LARGEST_BODY)), next());
    }

    private void compressed() throws Exception {
        for (CompressionType type : CompressionType.values()) {
            DefaultMQProducer by = new DefaultMQProducer("causeway-fidelity-" + type, Arguments.hook());
            Arguments.configure(by, arguments.text("name-server"), "fidelity-" + type);
            by.setCompressType(type);
            by.setCompressMsgBodyOverHowmuch(1024);
            by.start();
            for (int length : new int[] {1024, 100_000, LARGEST_BODY}) {
                send(by, message("compressed-" + type + "-" + length, text(length)), next());
            }
            by.shutdown();
        }
        // Clients before 5.0 set the compressed bit and no type: readers take that for zlib.
        Raw raw = new Raw(producer);
        raw.sysFlag = MessageSysFlag.COMPRESSED_FLAG;
        byte[] zlib = CompressorFactory.getCompressor(CompressionType.ZLIB).compress(text(50_000), 5);
        Message message = message("compressed-untyped", zlib);
        MessageQueue queue = next();
        accept(() -> raw.send(message, queue), 1);
    }

    private void properties() throws Exception {
        Message message = message("unicode", "\u4f60\u597d \ud83d\ude00".getBytes(StandardCharsets.UTF_8));
        message.putUserProperty("\u57ce\u5e02", "\u9752\u5c9b \u547c\u548c\u6d69\u7279 \ud83d\ude80 \u00e9\u00df");
        message.putUserProperty("json", "{\"a\":[1,2,\"\\u0041\"],\"b\":\"c=d;e\"}");
        message.putUserProperty("spaces", "  leading, trailing  \t\n");
        send(producer, message, next());

        message = message("large-property", bytes(10));
        message.putUserProperty("large", "x".repeat(30_000));
        send(producer, message, next());

        message = message("many-properties", bytes(10));
        for (int i = 0; i < 500; i++) {
            message.putUserProperty("property-" + i, Integer.toHexString(random.nextInt()));
        }
        send(producer, message, next());

        message = message("keys", bytes(10));
        message.setKeys(List.of("first", "second", "\u4e09"));
        send(producer, message, next());

        message = message("no-wait", bytes(10));
        message.setWaitStoreMsgOK(false);
        send(producer, message, next());

        message = message("request", bytes(10));
        MessageAccessor.putProperty(message, MessageConst.PROPERTY_CORRELATION_ID, "c-1");
        MessageAccessor.putProperty(message, MessageConst.PROPERTY_MESSAGE_REPLY_TO_CLIENT, "client@1");
        MessageAccessor.putProperty(message, MessageConst.PROPERTY_MESSAGE_TTL, "3000");
        send(producer, message, next());

        send(producer, new Message(topic, bytes(10)), next());
        for (String tag : new String[] {"A", "B", "\u6807\u7b7e", "Aa", "BB"}) {
            message = message("tags", bytes(20));
            message.setTags(tag);
            send(producer, message, next());
        }
    }

    private void headers() throws Exception {
        for (int flag : new int[] {1, 0x01020304, -1, Integer.MIN_VALUE}) {
            Message message = message("flag", bytes(10));
            message.setFlag(flag);
            send(producer, message, next());
        }
        for (int times : new int[] {1, 3, 16}) {
            Raw raw = new Raw(producer);
            raw.reconsumeTimes = times;
            Message message = message("reconsumed", bytes(10));
            MessageClientIDSetter.setUniqID(message);
            MessageQueue queue = next();
            accept(() -> raw.send(message, queue), 1);
        }
        for (long born : new long[] {0, 1_000_000_000_000L, System.currentTimeMillis() + 86_400_000L}) {
            Raw raw = new Raw(producer);
            raw.bornTimestamp = born;
            Message message = message("born", bytes(10));
            MessageClientIDSetter.setUniqID(message);
            MessageQueue queue = next();
            accept(() -> raw.send(message, queue), 1);
        }
    }

    private void batches() throws Exception {
        List<Message> many = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            many.add(message("batch", bytes(i * 7 + 1)));
        }
        MessageQueue queue = next();
        accept(() -> producer.send(many, queue), many.size());

        List<Message> messages = new ArrayList<>();
        messages.add(new Message(topic, new byte[0]));
        messages.add(message("empty", new byte[0]));
        messages.add(message("after-empty", bytes(5)));
        messages.add(message("empty", new byte[0]));
        for (Message message : messages.subList(1, 4)) {
            MessageClientIDSetter.setUniqID(message);
        }
        messages.get(3).setFlag(77);
        raw(messages);

        // One id on several messages, and two messages that differ in nothing: both occur in real queues.
        messages.clear();
        for (int i = 0; i < 4; i++) {
            Message message = message("repeated-id", new byte[] {(byte) (i / 2)});
            MessageAccessor.putProperty(message, MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, "7F00000100010001");
            messages.add(message);
        }
        raw(messages);
    }

    private void raw(List<Message> messages) throws Exception {
        Raw raw = new Raw(producer);
        MessageQueue queue = next();
        accept(() -> raw.send(messages, queue), messages.size());
    }

    private void ordered() throws Exception {
        for (int i = 0; i < 100; i++) {
            String shard = "shard-" + i % 4;
            Message message = message("fifo", bytes(30));
            message.putUserProperty("sequence", Integer.toString(i));
            MessageAccessor.putProperty(message, MessageConst.PROPERTY_SHARDING_KEY, shard);
            accept(() -> producer.send(message,
                (all, ignored, key) -> all.get(Math.floorMod(key.hashCode(), all.size())), shard), 1);
        }
    }

    private void transactions() throws Exception {
        TransactionMQProducer by = new TransactionMQProducer("causeway-fidelity-transactions", Arguments.hook());
        Arguments.configure(by, arguments.text("name-server"), "fidelity-transactions");
        by.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object commit) {
                return (Boolean) commit
                    ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.ROLLBACK_MESSAGE;
            }
        });
        by.start();
        for (int i = 0; i < 8; i++) {
            boolean commit = i % 3 != 2;
            by.sendMessageInTransaction(message(commit ? "committed" : "rolled-back", bytes(40)), commit);
            expected += commit ? 1 : 0;
        }
        by.shutdown();
    }

    private void delayed() throws Exception {
        for (int level = 1; level <= 2; level++) {
            Message message = message("delay-level-" + level, bytes(40));
            message.setDelayTimeLevel(level);
            send(producer, message, next());
        }
        if (arguments.text("timer", "false").equals("true")) {
            Message message = message("timer-delay", bytes(40));
            message.setDelayTimeMs(2000);
            send(producer, message, next());
            message = message("timer-deliver", bytes(40));
            message.setDeliverTimeMs(System.currentTimeMillis() + 3000);
            send(producer, message, next());
        }
    }
}
