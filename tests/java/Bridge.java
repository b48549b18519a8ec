import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * The bridge that one writes in an afternoon: a push consumer whose listener sends to the other cluster. It is what the
 * benchmark compares against; it keeps neither order nor exactness.
 *
 * <p>Options: --name-server (source), --target-name-server, --topic, --target-topic, --messages N, --group NAME,
 * --mode single|batch, --threads N. Ends after N messages and prints its wall time (from the first message) and its own
 * processor time (from process start).
 */
public final class Bridge {
    private Bridge() {
    }

    public static void main(String[] args) throws Exception {
        Arguments arguments = new Arguments(args);
        long wanted = Long.parseLong(arguments.text("messages"));
        boolean batches = arguments.text("mode", "single").equals("batch");
        String target = arguments.text("target-topic");
        int threads = (int) arguments.number("threads", 20);

        DefaultMQProducer producer = new DefaultMQProducer("causeway-bridge", Arguments.hook());
        Arguments.configure(producer, arguments.text("target-name-server"), "bridge-target");
        producer.start();

        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(
            arguments.text("group", "causeway-bridge"), Arguments.hook());
        Arguments.configure(consumer, arguments.text("name-server"), "bridge-source");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(threads);
        consumer.setConsumeThreadMax(threads);
        if (batches) {
            consumer.setConsumeMessageBatchMaxSize(32);
        }
        consumer.subscribe(arguments.text("topic"), "*");

        AtomicLong sent = new AtomicLong();
        AtomicLong first = new AtomicLong();
        CountDownLatch done = new CountDownLatch(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            first.compareAndSet(0, System.nanoTime());
            try {
                if (batches) {
                    List<Message> outgoing = new ArrayList<>(messages.size());
                    for (MessageExt message : messages) {
                        outgoing.add(copy(message, target));
                    }
                    producer.send(outgoing);
                } else {
                    for (MessageExt message : messages) {
                        producer.send(copy(message, target));
                    }
                }
            } catch (Exception error) {
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            if (sent.addAndGet(messages.size()) >= wanted) {
                done.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        done.await();
        System.out.println(new Json()
            .put("messages", sent.get())
            .put("seconds", (System.nanoTime() - first.get()) / 1e9)
            .put("cpu_seconds", Usage.cpuSeconds()));
        System.exit(0);
    }

    private static Message copy(MessageExt message, String topic) {
        Message copy = new Message(topic, message.getBody());
        copy.setFlag(message.getFlag());
        message.getProperties().forEach((name, value) -> {
            if (!MessageConst.STRING_HASH_SET.contains(name)) {
                copy.putUserProperty(name, value);
            }
        });
        if (message.getTags() != null) {
            copy.setTags(message.getTags());
        }
        if (message.getKeys() != null) {
            copy.setKeys(message.getKeys());
        }
        return copy;
    }
}
