//! Request and response codes that Causeway uses, by the names of Apache `RequestCode`, `ResponseCode` and
//! `RemotingSysResponseCode`; the numbers come from rocketmq-rust and are checked against Apache's in the test below.

/// Request codes.
pub mod request {
    use rocketmq_protocol::code::request_code::RequestCode;

    /// Read messages of a queue from an offset.
    pub const PULL_MESSAGE: i32 = RequestCode::PullMessage.to_i32();
    /// Offset that a group has consumed up to.
    pub const QUERY_CONSUMER_OFFSET: i32 = RequestCode::QueryConsumerOffset.to_i32();
    /// Sets the offset of a group.
    pub const UPDATE_CONSUMER_OFFSET: i32 = RequestCode::UpdateConsumerOffset.to_i32();
    /// Creates or changes a topic on one broker.
    pub const UPDATE_AND_CREATE_TOPIC: i32 = RequestCode::UpdateAndCreateTopic.to_i32();
    /// All topic settings of a broker.
    pub const GET_ALL_TOPIC_CONFIG: i32 = RequestCode::GetAllTopicConfig.to_i32();
    /// Settings of a broker.
    pub const GET_BROKER_CONFIG: i32 = RequestCode::GetBrokerConfig.to_i32();
    /// Counters and gauges of a broker.
    pub const GET_BROKER_RUNTIME_INFO: i32 = RequestCode::GetBrokerRuntimeInfo.to_i32();
    /// First offset stored at or after a time.
    pub const SEARCH_OFFSET_BY_TIMESTAMP: i32 = RequestCode::SearchOffsetByTimestamp.to_i32();
    /// End of a queue.
    pub const GET_MAX_OFFSET: i32 = RequestCode::GetMaxOffset.to_i32();
    /// Start of a queue.
    pub const GET_MIN_OFFSET: i32 = RequestCode::GetMinOffset.to_i32();
    /// Store time of the oldest message of a queue.
    pub const GET_EARLIEST_MSG_STORETIME: i32 = RequestCode::GetEarliestMsgStoreTime.to_i32();
    /// All group offsets of a broker.
    pub const GET_ALL_CONSUMER_OFFSET: i32 = RequestCode::GetAllConsumerOffset.to_i32();
    /// Brokers and queues of a topic.
    pub const GET_ROUTEINFO_BY_TOPIC: i32 = RequestCode::GetRouteinfoByTopic.to_i32();
    /// Clusters and brokers that a name server knows.
    pub const GET_BROKER_CLUSTER_INFO: i32 = RequestCode::GetBrokerClusterInfo.to_i32();
    /// Creates or changes a consumer group on one broker.
    pub const UPDATE_AND_CREATE_SUBSCRIPTIONGROUP: i32 = RequestCode::UpdateAndCreateSubscriptionGroup.to_i32();
    /// All consumer groups of a broker.
    pub const GET_ALL_SUBSCRIPTIONGROUP_CONFIG: i32 = RequestCode::GetAllSubscriptionGroupConfig.to_i32();
    /// Minimum, maximum and last update of all queues of a topic on a broker.
    pub const GET_TOPIC_STATS_INFO: i32 = RequestCode::GetTopicStatsInfo.to_i32();
    /// Online consumers of a group.
    pub const GET_CONSUMER_CONNECTION_LIST: i32 = RequestCode::GetConsumerConnectionList.to_i32();
    /// Topics that a name server knows.
    pub const GET_ALL_TOPIC_LIST_FROM_NAMESERVER: i32 = RequestCode::GetAllTopicListFromNameserver.to_i32();
    /// Send one message, header of one-letter fields.
    pub const SEND_MESSAGE_V2: i32 = RequestCode::SendMessageV2.to_i32();
    /// Send a batch to one queue.
    pub const SEND_BATCH_MESSAGE: i32 = RequestCode::SendBatchMessage.to_i32();
    /// Settings of one topic.
    pub const GET_TOPIC_CONFIG: i32 = RequestCode::GetTopicConfig.to_i32();
    /// Settings of one consumer group.
    pub const GET_SUBSCRIPTIONGROUP_CONFIG: i32 = RequestCode::GetSubscriptionGroupConfig.to_i32();
    /// Epochs of a broker in controller mode.
    pub const GET_BROKER_EPOCH_CACHE: i32 = RequestCode::GetBrokerEpochCache.to_i32();
}

/// Response codes.
pub mod response {
    use rocketmq_protocol::code::response_code::ResponseCode;

    /// Done.
    pub const SUCCESS: i32 = ResponseCode::Success.to_i32();
    /// Failed; the remark says more.
    pub const SYSTEM_ERROR: i32 = ResponseCode::SystemError.to_i32();
    /// Refused for load; the remark says at which stage.
    pub const SYSTEM_BUSY: i32 = ResponseCode::SystemBusy.to_i32();
    /// The server does not know the request.
    pub const REQUEST_CODE_NOT_SUPPORTED: i32 = ResponseCode::RequestCodeNotSupported.to_i32();
    /// Stored, not flushed in time.
    pub const FLUSH_DISK_TIMEOUT: i32 = ResponseCode::FlushDiskTimeout.to_i32();
    /// Stored, no slave in reach.
    pub const SLAVE_NOT_AVAILABLE: i32 = ResponseCode::SlaveNotAvailable.to_i32();
    /// Stored, no slave acknowledged in time.
    pub const FLUSH_SLAVE_TIMEOUT: i32 = ResponseCode::FlushSlaveTimeout.to_i32();
    /// The message breaks a rule or a limit.
    pub const MESSAGE_ILLEGAL: i32 = ResponseCode::MessageIllegal.to_i32();
    /// The broker does not serve now: slave, shutting down, disk full.
    pub const SERVICE_NOT_AVAILABLE: i32 = ResponseCode::ServiceNotAvailable.to_i32();
    /// The proxy needs the broker name.
    pub const VERSION_NOT_SUPPORTED: i32 = ResponseCode::VersionNotSupported.to_i32();
    /// Not allowed.
    pub const NO_PERMISSION: i32 = ResponseCode::NoPermission.to_i32();
    /// No such topic.
    pub const TOPIC_NOT_EXIST: i32 = ResponseCode::TopicNotExist.to_i32();
    /// Nothing at that offset yet.
    pub const PULL_NOT_FOUND: i32 = ResponseCode::PullNotFound.to_i32();
    /// Pull again from the offset of the response.
    pub const PULL_RETRY_IMMEDIATELY: i32 = ResponseCode::PullRetryImmediately.to_i32();
    /// The offset is outside the queue.
    pub const PULL_OFFSET_MOVED: i32 = ResponseCode::PullOffsetMoved.to_i32();
    /// The group has no offset.
    pub const QUERY_NOT_FOUND: i32 = ResponseCode::QueryNotFound.to_i32();
    /// No subscription.
    pub const SUBSCRIPTION_NOT_EXIST: i32 = ResponseCode::SubscriptionNotExist.to_i32();
    /// No such group.
    pub const SUBSCRIPTION_GROUP_NOT_EXIST: i32 = ResponseCode::SubscriptionGroupNotExist.to_i32();
    /// A field of the request has an impossible value.
    pub const INVALID_PARAMETER: i32 = ResponseCode::InvalidParameter.to_i32();
    /// No consumer of the group is online.
    pub const CONSUMER_NOT_ONLINE: i32 = ResponseCode::ConsumerNotOnline.to_i32();
    /// The static topic's queue has another leader.
    pub const NOT_LEADER_FOR_QUEUE: i32 = ResponseCode::NotLeaderForQueue.to_i32();
    /// The server is shutting down: use another connection.
    pub const GO_AWAY: i32 = ResponseCode::GoAway.to_i32();
}

#[cfg(test)]
mod tests {
    use super::{request, response};

    #[test]
    fn codes_are_those_of_apache() {
        let requests = [
            (request::PULL_MESSAGE, 11),
            (request::QUERY_CONSUMER_OFFSET, 14),
            (request::UPDATE_CONSUMER_OFFSET, 15),
            (request::UPDATE_AND_CREATE_TOPIC, 17),
            (request::GET_ALL_TOPIC_CONFIG, 21),
            (request::GET_BROKER_CONFIG, 26),
            (request::GET_BROKER_RUNTIME_INFO, 28),
            (request::SEARCH_OFFSET_BY_TIMESTAMP, 29),
            (request::GET_MAX_OFFSET, 30),
            (request::GET_MIN_OFFSET, 31),
            (request::GET_EARLIEST_MSG_STORETIME, 32),
            (request::GET_ALL_CONSUMER_OFFSET, 43),
            (request::GET_ROUTEINFO_BY_TOPIC, 105),
            (request::GET_BROKER_CLUSTER_INFO, 106),
            (request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, 200),
            (request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, 201),
            (request::GET_TOPIC_STATS_INFO, 202),
            (request::GET_CONSUMER_CONNECTION_LIST, 203),
            (request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, 206),
            (request::SEND_MESSAGE_V2, 310),
            (request::SEND_BATCH_MESSAGE, 320),
            (request::GET_TOPIC_CONFIG, 351),
            (request::GET_SUBSCRIPTIONGROUP_CONFIG, 352),
            (request::GET_BROKER_EPOCH_CACHE, 1007),
        ];
        let responses = [
            (response::SUCCESS, 0),
            (response::SYSTEM_ERROR, 1),
            (response::SYSTEM_BUSY, 2),
            (response::REQUEST_CODE_NOT_SUPPORTED, 3),
            (response::FLUSH_DISK_TIMEOUT, 10),
            (response::SLAVE_NOT_AVAILABLE, 11),
            (response::FLUSH_SLAVE_TIMEOUT, 12),
            (response::MESSAGE_ILLEGAL, 13),
            (response::SERVICE_NOT_AVAILABLE, 14),
            (response::VERSION_NOT_SUPPORTED, 15),
            (response::NO_PERMISSION, 16),
            (response::TOPIC_NOT_EXIST, 17),
            (response::PULL_NOT_FOUND, 19),
            (response::PULL_RETRY_IMMEDIATELY, 20),
            (response::PULL_OFFSET_MOVED, 21),
            (response::QUERY_NOT_FOUND, 22),
            (response::SUBSCRIPTION_NOT_EXIST, 24),
            (response::SUBSCRIPTION_GROUP_NOT_EXIST, 26),
            (response::INVALID_PARAMETER, 29),
            (response::CONSUMER_NOT_ONLINE, 206),
            (response::NOT_LEADER_FOR_QUEUE, 501),
            (response::GO_AWAY, 1500),
        ];
        for (ours, apache) in requests.into_iter().chain(responses) {
            assert_eq!(ours, apache);
        }
    }
}
