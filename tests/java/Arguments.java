import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.remoting.RPCHook;

/**
 * Command line options of the programs in this folder: pairs of "--name value". Credentials come from the environment
 * (CAUSEWAY_ACCESS_KEY, CAUSEWAY_SECRET_KEY) so that they do not show in a process list.
 */
final class Arguments {
    private final Map<String, String> values = new HashMap<>();

    Arguments(String[] args) {
        for (int i = 0; i + 1 < args.length; i += 2) {
            if (!args[i].startsWith("--")) {
                throw new IllegalArgumentException("expected an option, found " + args[i]);
            }
            values.put(args[i].substring(2), args[i + 1]);
        }
        if (args.length % 2 != 0) {
            throw new IllegalArgumentException("option without a value: " + args[args.length - 1]);
        }
    }

    String text(String name) {
        String value = values.get(name);
        if (value == null) {
            throw new IllegalArgumentException("missing option --" + name);
        }
        return value;
    }

    String text(String name, String otherwise) {
        return values.getOrDefault(name, otherwise);
    }

    long number(String name, long otherwise) {
        String value = values.get(name);
        return value == null ? otherwise : Long.parseLong(value);
    }

    static RPCHook hook() {
        String accessKey = System.getenv("CAUSEWAY_ACCESS_KEY");
        String secretKey = System.getenv("CAUSEWAY_SECRET_KEY");
        return accessKey == null ? null : new AclClientRPCHook(new SessionCredentials(accessKey, secretKey));
    }

    /** Sets what every client needs: where the name servers are and a client identity of its own. */
    static <C extends ClientConfig> C configure(C client, String nameServers, String instance) {
        client.setNamesrvAddr(nameServers);
        client.setInstanceName(instance + "-" + ProcessHandle.current().pid());
        client.setVipChannelEnabled(false);
        return client;
    }

    /** A started producer that never compresses; callers change what they need before the first send. */
    DefaultMQProducer producer(String group, String instance) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(group, hook());
        configure(producer, text("name-server"), instance);
        producer.setMaxMessageSize(8 << 20);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.setSendMsgTimeout(10_000);
        producer.start();
        return producer;
    }

    /** A started pull consumer that leaves bodies as they are stored. */
    DefaultMQPullConsumer puller(String instance) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("CID_RMQ_SYS_CAUSEWAY_DUMP", hook());
        configure(consumer, text("name-server"), instance);
        consumer.setDecodeDecompressBody(false);
        consumer.start();
        return consumer;
    }
}
