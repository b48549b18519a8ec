import java.util.List;
import org.apache.rocketmq.client.impl.CommunicationMode;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageBatch;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeader;

/** Sends below the producer, so that fields which the producer sets itself can be chosen. */
final class Raw {
    private final DefaultMQProducer producer;
    private final MQClientInstance client;
    int sysFlag;
    int reconsumeTimes;
    long bornTimestamp = System.currentTimeMillis();

    Raw(DefaultMQProducer producer) {
        this.producer = producer;
        this.client = producer.getDefaultMQProducerImpl().getMqClientFactory();
    }

    /** One message, with exactly its own properties (the broker still adds its own). */
    SendResult send(Message message, MessageQueue queue) throws Exception {
        return send(message, MessageDecoder.messageProperties2String(message.getProperties()), false, queue);
    }

    /** One batch whose header carries no properties; bodies may be empty. */
    SendResult send(List<Message> messages, MessageQueue queue) throws Exception {
        MessageBatch batch = MessageBatch.generateFromList(messages);
        batch.setBody(batch.encode());
        return send(batch, "", true, queue);
    }

    private SendResult send(Message message, String properties, boolean batch, MessageQueue queue) throws Exception {
        SendMessageRequestHeader header = new SendMessageRequestHeader();
        header.setProducerGroup(producer.getProducerGroup());
        header.setTopic(queue.getTopic());
        header.setDefaultTopic("TBW102");
        header.setDefaultTopicQueueNums(4);
        header.setQueueId(queue.getQueueId());
        header.setSysFlag(sysFlag);
        header.setBornTimestamp(bornTimestamp);
        header.setFlag(message.getFlag());
        header.setProperties(properties);
        header.setReconsumeTimes(reconsumeTimes);
        header.setUnitMode(false);
        header.setBatch(batch);
        header.setBrokerName(queue.getBrokerName());
        return client.getMQClientAPIImpl().sendMessage(client.findBrokerAddressInPublish(queue.getBrokerName()),
            queue.getBrokerName(), message, header, 10_000, CommunicationMode.SYNC, null,
            producer.getDefaultMQProducerImpl());
    }
}
