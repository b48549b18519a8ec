import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.SplittableRandom;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.exception.RemotingException;

/**
 * Sends numbered messages over all queues of a topic, one thread and one send in flight per queue, so that each queue
 * holds rising numbers. A failed send is repeated with the same message until it succeeds or the deadline passes, so a
 * broker restart may leave a message twice in the source: the dump of the source, not this program, says what is there.
 *
 * <p>Options: --name-server, --topic, --messages N, --rate MESSAGES_PER_SECOND (0: full speed), --body BYTES,
 * --batch MESSAGES_PER_SEND, --first NUMBER, --deadline SECONDS. Prints one JSON line per queue with what was
 * acknowledged. Ends with 1 if a queue missed the deadline.
 */
public final class NumberedProduce {
    private NumberedProduce() {
    }

    public static void main(String[] args) throws Exception {
        Arguments arguments = new Arguments(args);
        String topic = arguments.text("topic");
        long deadline = System.nanoTime() + arguments.number("deadline", 600) * 1_000_000_000L;
        DefaultMQProducer producer = arguments.producer("causeway-numbered", "numbered");
        producer.setSendMsgTimeout((int) arguments.number("timeout", 3000));
        List<MessageQueue> queues = new ArrayList<>(
            Dump.retry(() -> producer.fetchPublishMessageQueues(topic)));
        queues.sort(Comparator.comparing(MessageQueue::getBrokerName).thenComparing(MessageQueue::getQueueId));
        List<Lane> lanes = new ArrayList<>();
        for (int i = 0; i < queues.size(); i++) {
            lanes.add(new Lane(producer, queues.get(i), i, queues.size(), deadline, arguments));
        }
        lanes.forEach(Thread::start);
        boolean complete = true;
        for (Lane lane : lanes) {
            lane.join();
            System.out.println(lane.report());
            complete &= lane.complete;
        }
        producer.shutdown();
        System.exit(complete ? 0 : 1);
    }

    /** The sender of one queue. */
    private static final class Lane extends Thread {
        private final DefaultMQProducer producer;
        private final MessageQueue queue;
        private final long first;
        private final long end;
        private final int step;
        private final int batch;
        private final int body;
        private final double rate;
        private final long deadline;
        private long acknowledged;
        private long retries;
        private long firstOffset = -1;
        private long lastOffset = -1;
        private String lastError;
        private volatile boolean complete;

        Lane(DefaultMQProducer producer, MessageQueue queue, int index, int lanes, long deadline, Arguments arguments) {
            this.producer = producer;
            this.queue = queue;
            this.step = lanes;
            this.deadline = deadline;
            long start = arguments.number("first", 0);
            this.first = start + index;
            this.end = start + Long.parseLong(arguments.text("messages"));
            this.batch = (int) arguments.number("batch", 1);
            this.body = (int) arguments.number("body", 128);
            this.rate = arguments.number("rate", 0) / (double) lanes;
        }

        @Override
        public void run() {
            long started = System.nanoTime();
            long number = first;
            while (number < end && System.nanoTime() < deadline) {
                pace(started);
                List<Message> messages = new ArrayList<>(batch);
                for (int i = 0; i < batch && number < end; i++, number += step) {
                    messages.add(message(number));
                }
                if (!send(messages)) {
                    return;
                }
            }
            complete = number >= end;
        }

        private void pace(long started) {
            if (rate <= 0) {
                return;
            }
            long due = started + (long) (acknowledged / rate * 1e9);
            long wait = due - System.nanoTime();
            if (wait > 0) {
                try {
                    Thread.sleep(wait / 1_000_000, (int) (wait % 1_000_000));
                } catch (InterruptedException error) {
                    Thread.currentThread().interrupt();
                }
            }
        }

        private Message message(long number) {
            ByteBuffer buffer = ByteBuffer.allocate(Math.max(body, 8)).putLong(number);
            SplittableRandom random = new SplittableRandom(number);
            while (buffer.remaining() >= 8) {
                buffer.putLong(random.nextLong());
            }
            Message message = new Message(queue.getTopic(), "T" + number % 5, "n-" + number, buffer.array());
            message.putUserProperty("number", Long.toString(number));
            return message;
        }

        private boolean send(List<Message> messages) {
            while (System.nanoTime() < deadline) {
                try {
                    SendResult result = messages.size() == 1
                        ? producer.send(messages.get(0), queue)
                        : producer.send(messages, queue);
                    if (firstOffset < 0) {
                        firstOffset = result.getQueueOffset();
                    }
                    lastOffset = result.getQueueOffset() + messages.size() - 1;
                    acknowledged += messages.size();
                    return true;
                } catch (MQClientException | RemotingException | MQBrokerException error) {
                    retries++;
                    lastError = error.toString();
                    try {
                        Thread.sleep(100);
                    } catch (InterruptedException interrupted) {
                        return false;
                    }
                } catch (InterruptedException error) {
                    return false;
                }
            }
            return false;
        }

        Json report() {
            return new Json().put("broker", queue.getBrokerName()).put("queue", queue.getQueueId())
                .put("acknowledged", acknowledged).put("first_offset", firstOffset).put("last_offset", lastOffset)
                .put("retries", retries).put("complete", complete)
                .put("last_error", lastError);
        }
    }
}
