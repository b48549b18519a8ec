//! The keys of an `[[instances]]` entry.

use super::{Form, Key, optional, required};

/// The keys.
pub(super) const KEYS: &[Key] = &[
    required("name", Form::Name, "\"qingdao\"", "The instance's name in Causeway."),
    required("region", Form::Name, "\"qingdao\"", "The label of the region that it stands in."),
    required("name_servers", Form::HostsAndPorts, "[\"10.0.0.5:9876\"]", "Its name servers, tried in turn."),
    optional(
        "identity",
        Form::Identity,
        "\"00000000000000aa\"",
        "How copies name it, 16 hexadecimal digits; drawn at random when it is not set. Give the same RocketMQ cluster \
         the same identity in every Causeway cluster, because loops are recognised by it.",
    ),
    optional(
        "access_key",
        Form::SecretReference,
        "\"env:QD_AK\"",
        "Access key (ACL 1.0) or user name (ACL 2.0): env:NAME or file:/path. Never the key itself.",
    ),
    optional("secret", Form::SecretReference, "\"env:QD_SK\"", "The secret key, by reference in the same way."),
    optional(
        "security_token",
        Form::SecretReference,
        "\"file:/run/secrets/qd-sts\"",
        "The security token of temporary credentials, by reference in the same way.",
    ),
    optional(
        "tls.certificate_authority_file",
        Form::Path,
        "\"/etc/causeway/qd-ca.pem\"",
        "PEM file of the authorities that may sign the brokers' certificates. Setting it turns TLS on: plain \
         connections are then refused.",
    ),
    optional(
        "tls.certificate_file",
        Form::Path,
        "\"/etc/causeway/qd.pem\"",
        "PEM file of this node's certificate chain.",
    ),
    optional("tls.key_file", Form::Path, "\"/etc/causeway/qd.key\"", "PEM file of the key of certificate_file."),
    optional(
        "tls.server_name",
        Form::Text,
        "\"rocketmq.qingdao.example\"",
        "The name to expect in the brokers' certificates instead of the address that is dialled.",
    ),
];
