//! Every setting of the server, declared once: name, type, default and what it does.
//!
//! What must stay true: the configuration file, the environment, the flags, `--help` and the page
//! `docs/guide/settings.md` all come from the one list below; a later source wins over an earlier
//! one (file, environment, flag); a name that is no setting is an error that names the nearest.
//! Reading files and variables is the caller's work: this file sees only names and texts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::TlsFiles;
use vermilion_engine::config::{Ingest, Limits, MaintenanceBudget, Quotas, SchedulerClass, Upkeep};

mod values;

pub use values::{
    ByteCount, LogFormat, LogLevel, OptionalAddress, OptionalBytes, OptionalNumber, OptionalPath,
    Origins, Percent, SettingValue,
};

#[cfg(test)]
mod tests;

/// The start of the name of every environment variable that is a setting.
pub const ENVIRONMENT_PREFIX: &str = "VERMILION_";

const KIBIBYTE: u64 = 1 << 10;
/// The least that the log may take: one collection gets a quarter of it, and the file that is written
/// stays.
const LOG_BYTES_LEAST: u64 = KIBIBYTE * KIBIBYTE;
/// The shortest time within which something can be expected of a client or a read.
const TIMEOUT_LEAST: Duration = Duration::from_millis(10);
/// Threads that index at most.
const INDEXING_WORKERS_MAX: usize = 256;

/// What is known of one setting before anybody says anything.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Its name: the key of the configuration file.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Its value when nobody says anything.
    pub default: &'static str,
    /// What a value looks like.
    pub expects: &'static str,
    /// Whether the flag may stand without a value and then means `true`.
    pub is_switch: bool,
    /// Whether a list of texts may stand for their texts with commas between.
    pub is_list: bool,
}

impl Declaration {
    /// The flag without its dashes: `allow-reset`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable: `VERMILION_ALLOW_RESET`.
    pub fn variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.to_uppercase())
    }

    /// Its default as people read it.
    pub fn default_shown(&self) -> &'static str {
        if self.default.is_empty() {
            values::NOTHING
        } else {
            self.default
        }
    }

    /// The documentation as one paragraph.
    pub fn summary(&self) -> &'static str {
        self.doc.trim()
    }
}

/// Declares the settings: a doc comment, a name, a type and a default for each.
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:literal;)+) => {
        /// Every setting with its value.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Values {
            $($(#[doc = $doc])+ pub $name: $kind,)+
        }

        /// Every setting, in the order of the settings page.
        pub const DECLARATIONS: &[Declaration] = &[$(Declaration {
            name: stringify!($name),
            doc: concat!($($doc),+),
            default: $default,
            expects: <$kind as SettingValue>::EXPECTS,
            is_switch: <$kind as SettingValue>::IS_SWITCH,
            is_list: <$kind as SettingValue>::IS_LIST,
        }),+];

        impl Settings {
            /// Reads what was said, and the default of every other setting.
            pub fn values(&self) -> Result<Values, SettingsError> {
                Ok(Values { $($name: self.value(stringify!($name), $default)?,)+ })
            }
        }
    };
}

settings! {
    /// The folder that holds everything; it is made if it is not there.
    path: PathBuf = "./vermilion-data";
    /// The address to listen on.
    host: String = "127.0.0.1";
    /// The port to listen on; 0 takes any free one.
    port: u16 = "8000";
    /// The Unix socket to listen on besides, for clients on this machine: see [local](../reference/local.md).
    /// `auto` is a place of its own outside the folder of the data, which then holds nothing but files;
    /// another path that does not begin with `/` is in the folder of the data.
    socket: OptionalPath = "auto";
    /// Allows a public address although no API keys are asked for: whoever reaches the port can read
    /// and delete everything.
    insecure: bool = "false";
    /// The file of API keys, which `vermilion key` makes and changes; with it every request must bring
    /// a key. See [access](access.md).
    access_file: OptionalPath = "";
    /// The file to which changes and refused requests are appended, a line of JSON each.
    audit_file: OptionalPath = "";
    /// The certificate (PEM, with those that lead to a trusted one) for encrypted connections; needs
    /// `tls_key`.
    tls_certificate: OptionalPath = "";
    /// The private key of the certificate (PEM).
    tls_key: OptionalPath = "";
    /// Requests a second that each tenant may send; more get the status 429.
    tenant_requests_max: OptionalNumber = "";
    /// Collections that each tenant may have; one more gets the status 429.
    tenant_collections_max: OptionalNumber = "";
    /// Records that each tenant may have in all its collections; what would be more gets the status
    /// 429.
    tenant_records_max: OptionalNumber = "";
    /// Bytes that the collections of each tenant may take on the disk and in memory; what would be
    /// more gets the status 429.
    tenant_bytes_max: OptionalBytes = "";
    /// Allows clients to delete everything with one request (`POST /api/v2/reset`).
    allow_reset: bool = "false";
    /// Origins whose web pages may send requests, separated by commas; `*` means any.
    cors_allow_origins: Origins = "";
    /// Has webhooks of curation reach public addresses only, and none of this machine or its networks:
    /// for servers whose users are not trusted with these. See [curation](curation.md).
    webhook_public_only: bool = "false";
    /// The largest request body; larger ones get the status 413.
    body_bytes_max: ByteCount = "40MiB";
    /// The most that an answer of records may take in memory: a request for more gets the status 400. All answers
    /// together may take twice as much; what comes then gets the status 429.
    answer_bytes_max: ByteCount = "1GiB";
    /// How long a read of records may take, and a deletion may look for the records that it means; what takes longer
    /// is left, and gets the status 504.
    read_timeout: Duration = "10m";
    /// How long a client may take to send the head of a request, or stay idle between two requests.
    header_timeout: Duration = "1m";
    /// How long a client may take between two parts of a body; a slower one gets the status 408.
    body_timeout: Duration = "30s";
    /// Connections at a time; more wait to be accepted.
    connections_max: usize = "4096";
    /// How much is logged.
    log_level: LogLevel = "info";
    /// How a line of the log looks.
    log_format: LogFormat = "text";
    /// The collector of OpenTelemetry that traces of requests and jobs are sent to, such as
    /// `http://localhost:4318`; needs a program built for it: see [traces](traces.md).
    otel_endpoint: OptionalAddress = "";
    /// Records in one request at most; clients are told.
    batch_records_max: usize = "100000";
    /// Numbers in a vector at most, 65,535 or fewer.
    dimension_max: usize = "65535";
    /// Bytes of an id at most, 64 KiB or fewer.
    id_bytes_max: ByteCount = "64KiB";
    /// Bytes of a metadata key at most, 4 KiB or fewer.
    key_bytes_max: ByteCount = "4KiB";
    /// Bytes of a document at most, 32 MiB or fewer.
    document_bytes_max: ByteCount = "32MiB";
    /// Keys in the metadata of a record at most, 10,000 or fewer.
    metadata_cells_max: usize = "10000";
    /// Metadata keys in the schema of a collection at most, 1,000,000 or fewer: those that its records have had and
    /// those that were set when it was made. A write that brings more gets the status 400.
    schema_keys_max: usize = "10000";
    /// Answers writes as soon as they are durable; searches see them a little later. A collection can
    /// have its own way: see [batch ingest](batch-ingest.md).
    batch_ingest: bool = "false";
    /// Threads that index what was written with `batch_ingest`, each one collection at a time.
    indexing_workers: usize = "2";
    /// Bytes of such writes that are kept in memory until they are indexed; what is beyond is read
    /// from the log again.
    ingest_memory_bytes: ByteCount = "128MiB";
    /// Bytes of the log that no segment holds yet. From half of it on the writes of collections whose
    /// indexing is behind are slowed down, from seven eighths on all are; past it they get the status
    /// 429. One collection may have a quarter of it logged and not indexed.
    log_bytes_max: ByteCount = "4GiB";
    /// Bytes that must stay free on the disk: with less, writes get the status 507.
    free_disk_bytes_min: ByteCount = "16MiB";
    /// The folder that `POST /control/v1/backups` makes backups in, each destination a folder of it;
    /// none refuses them. Programs with the feature `object-store` take `s3://BUCKET/PREFIX` too.
    backup_folder: OptionalPath = "";
    /// Bytes of the log kept for the next incremental backup; past them it becomes a full one.
    backup_log_bytes_max: ByteCount = "1GiB";
    /// Records in memory at which a collection is written to a segment.
    seal_rows: usize = "65536";
    /// Bytes in memory at which a collection is written to a segment.
    seal_bytes: ByteCount = "128MiB";
    /// Bytes in memory of all collections together at which the largest is written to a segment.
    memory_bytes: ByteCount = "384MiB";
    /// A collection that nobody wrote to for so long is written to a segment; those that hold less
    /// than 1 MiB take turns, one at a time.
    seal_idle_after: Duration = "5s";
    /// Bytes of a log file at which the next is begun.
    log_file_bytes: ByteCount = "32MiB";
    /// Bytes of log kept before the collections that hold its oldest file are written to segments.
    log_bytes: ByteCount = "128MiB";
    /// Bytes that merges and jobs read and write a second at most, all together. Writing memory to
    /// segments is not limited.
    maintenance_bytes_per_second: OptionalBytes = "";
    /// The share of a processor that each thread of merges and jobs takes at most, in percent.
    maintenance_cpu_percent: Percent = "100";
    /// Bytes of memory that a merge of segments may take, one of which runs at a time; segments that
    /// would take more stay apart.
    merge_memory_bytes: ByteCount = "768MiB";
    /// Bytes of vectors and their indexes in memory past which those that were searched longest ago
    /// are given back to the system, and single vectors are read from their files instead of being
    /// mapped; without it the system gives back when memory is short.
    mapped_memory_bytes: OptionalBytes = "";
    /// One search in so many is made again exactly while the machine is idle: the share of the nearest
    /// records that was found is a metric, and where it is less than was asked for, more of the index
    /// is read from then on; 0 makes none again.
    recall_check_one_in: u32 = "2000";
    /// Who begins the jobs that maintain the database: the server itself, or nobody, so that an
    /// operator's own scheduler asks for them (`vermilion ctl run`).
    scheduler_class: SchedulerClass = "in_process";
}

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In this configuration file.
    File(PathBuf),
    /// In an environment variable.
    Environment,
    /// In a flag of the command line.
    Flag,
}

/// What file, environment and flags said, and where.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    said: BTreeMap<&'static str, (String, Source)>,
}

/// Why settings cannot be used; a sentence, and where there is one, a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SettingsError {}

/// The setting called `name`.
pub fn declaration(name: &str) -> Option<&'static Declaration> {
    DECLARATIONS.iter().find(|one| one.name == name)
}

impl Settings {
    /// Notes that `source` gives the setting `name` the value `text`. Sources come in rising order
    /// of weight: a later call wins.
    pub fn say(&mut self, name: &str, text: &str, source: Source) -> Result<(), SettingsError> {
        let Some(declaration) = declaration(name) else {
            return Err(unknown(name, &source));
        };
        self.said
            .insert(declaration.name, (text.to_owned(), source));
        Ok(())
    }

    /// Takes every variable that begins with [`ENVIRONMENT_PREFIX`], but for those in `others`.
    pub fn say_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        others: &[&str],
    ) -> Result<(), SettingsError> {
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX) else {
                continue;
            };
            if !others.contains(&variable.as_str()) {
                self.say(&name.to_lowercase(), &text, Source::Environment)?;
            }
        }
        Ok(())
    }

    /// Whether anybody said something about `name`.
    pub fn says(&self, name: &str) -> bool {
        self.said.contains_key(name)
    }

    fn value<T: SettingValue>(
        &self,
        name: &'static str,
        default: &'static str,
    ) -> Result<T, SettingsError> {
        let Some((text, source)) = self.said.get(name) else {
            return Ok(T::parse(default).expect("a test reads every default"));
        };
        let shown = declaration(name).map_or(default, Declaration::default_shown);
        T::parse(text).ok_or_else(|| SettingsError {
            message: format!(
                "{} is `{text}`, which is not {}",
                written(name, source),
                T::EXPECTS
            ),
            hint: Some(format!("the default is `{shown}`")),
        })
    }
}

impl Values {
    /// Refuses what is wrong between settings, such as a public address that nobody asked for twice.
    /// `admin_key` is whether there is a key beside those of [`Self::access_file`].
    pub fn validate(&self, admin_key: bool) -> Result<(), SettingsError> {
        if self.indexing_workers > INDEXING_WORKERS_MAX {
            return Err(SettingsError {
                message: format!(
                    "indexing_workers is {}; at most {INDEXING_WORKERS_MAX} are allowed",
                    self.indexing_workers
                ),
                hint: Some("more of them than processors index no faster".to_owned()),
            });
        }
        self.check_limits()?;
        self.check_room()?;
        let open = !admin_key && self.access_file.0.is_none();
        if open && !self.insecure && !is_loopback(&self.host) {
            return Err(SettingsError {
                message: format!(
                    "{} is a public address, and no API keys are asked for",
                    self.host
                ),
                hint: Some(
                    "make a key (`vermilion key create --help`) and give its file as --access-file, \
                     listen on 127.0.0.1, or add --insecure if only people you trust reach the port"
                        .to_owned(),
                ),
            });
        }
        if self.tls_certificate.0.is_some() != self.tls_key.0.is_some() {
            return Err(SettingsError {
                message: "only one of tls_certificate and tls_key is given".to_owned(),
                hint: Some("encrypted connections need both".to_owned()),
            });
        }
        Ok(())
    }

    /// The files for encrypted connections.
    pub fn tls(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            certificate: self.tls_certificate.0.clone()?,
            key: self.tls_key.0.clone()?,
        })
    }

    /// The engine's limits.
    pub fn limits(&self) -> Limits {
        Limits {
            batch_records_max: self.batch_records_max,
            dimension_max: self.dimension_max,
            id_bytes_max: self.id_bytes_max.0 as usize,
            key_bytes_max: self.key_bytes_max.0 as usize,
            document_bytes_max: self.document_bytes_max.0 as usize,
            metadata_cells_max: self.metadata_cells_max,
            schema_keys_max: self.schema_keys_max,
            log_bytes_max: self.log_bytes_max.0,
            free_disk_bytes_min: self.free_disk_bytes_min.0,
            backup_log_bytes_max: self.backup_log_bytes_max.0,
            quotas: Quotas {
                collections: count_of(self.tenant_collections_max),
                records: count_of(self.tenant_records_max),
                bytes: self.tenant_bytes_max.0,
            },
        }
    }

    /// Refuses limits of records beyond those that files are made for.
    fn check_limits(&self) -> Result<(), SettingsError> {
        let (asked, most) = (self.limits(), Limits::default());
        for (name, asked, most) in [
            ("dimension_max", asked.dimension_max, most.dimension_max),
            ("id_bytes_max", asked.id_bytes_max, most.id_bytes_max),
            ("key_bytes_max", asked.key_bytes_max, most.key_bytes_max),
            (
                "document_bytes_max",
                asked.document_bytes_max,
                most.document_bytes_max,
            ),
            (
                "metadata_cells_max",
                asked.metadata_cells_max,
                most.metadata_cells_max,
            ),
            ("schema_keys_max", self.schema_keys_max, 1_000_000),
            ("connections_max", self.connections_max, 1 << 20),
        ] {
            if !(1..=most).contains(&asked) {
                return Err(SettingsError {
                    message: format!("{name} is {asked}; 1 to {most} are allowed"),
                    hint: None,
                });
            }
        }
        Ok(())
    }

    /// Refuses sizes and times with which no request could ever be answered.
    fn check_room(&self) -> Result<(), SettingsError> {
        let bytes = [
            ("log_bytes_max", self.log_bytes_max, LOG_BYTES_LEAST),
            ("body_bytes_max", self.body_bytes_max, KIBIBYTE),
            ("answer_bytes_max", self.answer_bytes_max, 64 * KIBIBYTE),
            ("memory_bytes", self.memory_bytes, 64 * KIBIBYTE),
        ];
        for (name, asked, least) in bytes {
            if asked.0 < least {
                return Err(SettingsError {
                    message: format!(
                        "{name} is {} bytes; at least {} KiB are needed",
                        asked.0,
                        least / KIBIBYTE
                    ),
                    hint: Some("a number without a unit is bytes; write 4GiB or 512KiB".to_owned()),
                });
            }
        }
        let times = [
            ("read_timeout", self.read_timeout),
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
        ];
        for (name, asked) in times {
            if asked < TIMEOUT_LEAST {
                return Err(SettingsError {
                    message: format!(
                        "{name} is {}ms; at least {}ms are needed",
                        asked.as_millis(),
                        TIMEOUT_LEAST.as_millis()
                    ),
                    hint: None,
                });
            }
        }
        Ok(())
    }

    /// When writers are answered, and who indexes what they wrote.
    pub fn ingest(&self) -> Ingest {
        Ingest {
            batch_ingest: self.batch_ingest,
            workers: self.indexing_workers,
            kept_bytes: self.ingest_memory_bytes.0,
        }
    }

    /// When the engine does its upkeep.
    pub fn upkeep(&self) -> Upkeep {
        Upkeep {
            seal_rows: self.seal_rows,
            seal_bytes: self.seal_bytes.0 as usize,
            memory_bytes: self.memory_bytes.0 as usize,
            seal_idle_after: self.seal_idle_after,
            log_file_bytes: self.log_file_bytes.0,
            log_bytes: self.log_bytes.0,
            budget: MaintenanceBudget {
                bytes_per_second: self.maintenance_bytes_per_second.0,
                cpu_percent: self.maintenance_cpu_percent.0,
            },
            merge_bytes: self.merge_memory_bytes.0,
            mapped_bytes: self.mapped_memory_bytes.0.unwrap_or(0),
            recall_check_one_in: self.recall_check_one_in,
            ..Upkeep::default()
        }
    }
}

fn count_of(number: OptionalNumber) -> Option<u64> {
    number.0.map(|number| number.get() as u64)
}

/// The settings page, in Markdown.
pub fn settings_page() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         This page is made from the declarations in `crates/server/src/settings.rs`; a test keeps it \
         true.\n\n\
         A setting can be said in a configuration file (`vermilion serve --config FILE`, YAML, the \
         name as the key), in an environment variable, or as a flag of `vermilion serve`. A flag wins \
         over the environment, and the environment over the file. A name that is no setting stops the \
         start.\n\n\
         Sizes are bytes, or a number with `KiB`, `MiB` or `GiB`; times are a number with `ms`, `s`, \
         `m` or `h`.\n",
    );
    for one in DECLARATIONS {
        let section = format!(
            "\n## `{}`\n\n{}\n\n- value: {}\n- default: `{}`\n- flag: `--{}`\n- variable: `{}`\n",
            one.name,
            one.summary(),
            one.expects,
            one.default_shown(),
            one.flag(),
            one.variable(),
        );
        page.push_str(&section);
    }
    page
}

/// Whether only this machine reaches `host`.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// How a setting is written where `source` says it.
fn written(name: &str, source: &Source) -> String {
    match (source, declaration(name)) {
        (Source::File(file), _) => format!("`{name}` in {}", file.display()),
        (Source::Environment, _) => format!("{ENVIRONMENT_PREFIX}{}", name.to_uppercase()),
        (Source::Flag, _) => format!("--{}", name.replace('_', "-")),
    }
}

fn unknown(name: &str, source: &Source) -> SettingsError {
    let nearest = DECLARATIONS
        .iter()
        .map(|one| (edit_distance(name, one.name), one))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, one)| written(one.name, source));
    SettingsError {
        message: format!("{} is no setting", written(name, source)),
        hint: nearest.map(|nearest| {
            format!("did you mean {nearest}? `vermilion serve --help` lists all settings")
        }),
    }
}

/// How many characters must be put in, left out or changed to make `a` into `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
