//! What the gateway tells about itself: metrics for Prometheus, log lines for people.
//!
//! Metrics are declared once, in `metric_names`. Everything counts into plain integers
//! (`counters`, and the core's own totals); `publish` moves them to the recorder once a second and
//! before each scrape; `own_topics` tells MQTT clients some of them under `$SYS`. So a message costs an add and not a look-up.

mod counters;
pub(crate) mod logging;
pub mod metric_names;
mod own_topics;
mod process;
mod publish;

pub(crate) use counters::Counters;
pub(crate) use own_topics::SysTopics;
pub(crate) use publish::Telemetry;
