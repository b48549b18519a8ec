//! Writes what a name server or broker reads at its start and builds the command that starts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::settings::{Acl, ClusterSettings};
use super::tls::TlsFiles;
use super::version::{AclGeneration, Version};

/// What all servers of a cluster share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: ClusterSettings,
    pub(super) jars: PathBuf,
    pub(super) tls: Option<TlsFiles>,
}

/// What differs between two brokers of a cluster.
#[derive(Debug)]
pub(super) struct BrokerFacts<'a> {
    pub(super) name: &'a str,
    pub(super) id: u64,
    pub(super) role: &'a str,
    pub(super) port: u16,
    pub(super) store: &'a Path,
    pub(super) name_servers: &'a str,
}

/// Small memory, one collector thread, and no optimising compiler: servers live for seconds here.
const JVM: [&str; 8] = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "-Dio.netty.tryReflectionSetAccessible=true",
];

/// The command that starts a name server with its home in `home`.
pub(super) fn name_server(shared: &Shared, home: &Path, port: u16) -> Command {
    let configuration = home.join("namesrv.conf");
    prepare_home(shared.settings.version, home);
    fs::write(&configuration, format!("listenPort={port}\n")).unwrap();
    let mut command = java(shared, home, &["-Xms32m", "-Xmx96m", "-XX:MaxDirectMemorySize=64m"]);
    command.args(["org.apache.rocketmq.namesrv.NamesrvStartup", "-c"]).arg(configuration);
    command
}

/// The command that starts a broker with its home in `home`.
pub(super) fn broker(shared: &Shared, home: &Path, facts: &BrokerFacts<'_>) -> Command {
    prepare_home(shared.settings.version, home);
    let configuration = home.join("broker.conf");
    let mut lines = properties(&shared.settings, facts);
    if let Some(acl) = &shared.settings.acl {
        lines.extend(access_control(shared.settings.version, home, acl));
    }
    lines.extend(shared.settings.broker_properties.iter().cloned());
    let text: String = lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    fs::write(&configuration, text).unwrap();
    let mut command = java(shared, home, &["-Xms128m", "-Xmx320m", "-Xmn96m", "-XX:MaxDirectMemorySize=512m"]);
    command.args(&shared.settings.java_options);
    command.args(["org.apache.rocketmq.broker.BrokerStartup", "-c"]).arg(configuration);
    command
}

fn java(shared: &Shared, home: &Path, memory: &[&str]) -> Command {
    let mut command = Command::new("java");
    command.args(memory).args(JVM).arg(format!("-Duser.home={}", home.display()));
    // 4.9.x finds its logging configuration in conf/; 5.x is told where it is.
    if shared.settings.version.is_five() {
        command.arg(format!("-Drmq.logback.configurationFile={}", home.join("conf/logback_broker.xml").display()));
    }
    if let (Some(tls), Some(settings)) = (&shared.tls, shared.settings.tls) {
        command.args(tls.server_options(settings.require_client_certificate));
    }
    command.arg("-cp").arg(shared.jars.join("*")).env("ROCKETMQ_HOME", home);
    command
}

/// One log file per server instead of forty, without the threads that feed them.
fn prepare_home(version: Version, home: &Path) {
    let conf = home.join("conf");
    fs::create_dir_all(&conf).unwrap();
    let text = format!(
        r#"<configuration>
  <appender name="file" class="ch.qos.logback.core.FileAppender">
    <file>{}</file>
    <encoder><pattern>%d{{HH:mm:ss.SSS}} %p %c{{0}} %t - %m%n</pattern></encoder>
  </appender>
  <logger name="RocketmqRemoting" level="WARN"/>
  <logger name="RocketmqWaterMark" level="WARN"/>
  <root level="INFO"><appender-ref ref="file"/></root>
</configuration>
"#,
        home.join("server.log").display()
    );
    let text = if version.is_five() { text.replace("ch.qos", "org.apache.rocketmq.logging.ch.qos") } else { text };
    for name in ["logback_namesrv.xml", "logback_broker.xml"] {
        fs::write(conf.join(name), &text).unwrap();
    }
}

fn properties(settings: &ClusterSettings, facts: &BrokerFacts<'_>) -> Vec<(String, String)> {
    let announced = settings.announced.map_or_else(|| settings.host().to_owned(), |address| address.to_string());
    let mut lines: Vec<(&str, String)> = vec![
        ("brokerClusterName", settings.name.clone()),
        ("brokerName", facts.name.to_owned()),
        ("brokerId", facts.id.to_string()),
        ("brokerRole", facts.role.to_owned()),
        ("listenPort", facts.port.to_string()),
        ("haListenPort", (facts.port + 1).to_string()),
        ("namesrvAddr", facts.name_servers.to_owned()),
        ("brokerIP1", announced),
        ("brokerIP2", settings.host().to_owned()),
        ("storePathRootDir", facts.store.display().to_string()),
        ("storePathCommitLog", facts.store.join("commitlog").display().to_string()),
        // Small files: a commit log of 32 MiB pieces, an index that fits a test.
        ("mapedFileSizeCommitLog", (32 << 20).to_string()),
        ("mappedFileSizeCommitLog", (32 << 20).to_string()),
        ("maxHashSlotNum", "50000".to_owned()),
        ("maxIndexNum", "200000".to_owned()),
        // Tests state the topics that exist; a disk that is nearly full must not stop them.
        ("autoCreateTopicEnable", "false".to_owned()),
        ("diskMaxUsedSpaceRatio", "95".to_owned()),
        ("registerNameServerPeriod", "10000".to_owned()),
        // 5.x spins one core from its start until this interval has passed for the first time.
        ("transactionMetricFlushInterval", "1000".to_owned()),
    ];
    if settings.announced.is_some() {
        assert!(settings.version.is_five(), "releases before 5.0 cannot bind one address and announce another");
        lines.push(("bindAddress", settings.host().to_owned()));
    }
    lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn access_control(version: Version, home: &Path, acl: &Acl) -> Vec<(String, String)> {
    let lines: Vec<(&str, String)> = match version.acl_generation() {
        AclGeneration::One => {
            let accounts = format!(
                "globalWhiteRemoteAddresses: []\naccounts:\n\
                 - accessKey: {}\n  secretKey: {}\n  whiteRemoteAddress:\n  admin: true\n\
                 - accessKey: {}\n  secretKey: {}\n  whiteRemoteAddress:\n  admin: false\n  \
                 defaultTopicPerm: PUB|SUB\n  defaultGroupPerm: PUB|SUB\n",
                acl.admin.access_key, acl.admin.secret_key, acl.user.access_key, acl.user.secret_key
            );
            fs::write(home.join("conf/plain_acl.yml"), accounts).unwrap();
            vec![("aclEnable", "true".to_owned())]
        }
        AclGeneration::Two => {
            let (key, secret) = (&acl.admin.access_key, &acl.admin.secret_key);
            let authentication = "org.apache.rocketmq.auth.authentication.provider";
            let authorization = "org.apache.rocketmq.auth.authorization.provider";
            vec![
                ("authenticationEnabled", "true".to_owned()),
                ("authenticationProvider", format!("{authentication}.DefaultAuthenticationProvider")),
                ("authenticationMetadataProvider", format!("{authentication}.LocalAuthenticationMetadataProvider")),
                ("initAuthenticationUser", format!(r#"{{"username":"{key}","password":"{secret}"}}"#)),
                ("innerClientAuthenticationCredentials", format!(r#"{{"accessKey":"{key}","secretKey":"{secret}"}}"#)),
                ("authorizationEnabled", "true".to_owned()),
                ("authorizationProvider", format!("{authorization}.DefaultAuthorizationProvider")),
                ("authorizationMetadataProvider", format!("{authorization}.LocalAuthorizationMetadataProvider")),
                ("authConfigPath", home.join("auth").display().to_string()),
            ]
        }
    };
    lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
