//! Log lines on standard error, and the same records to a collector.

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::TelemetrySettings;
use super::otlp::Otlp;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

pub(super) fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Sends log lines to standard error, and to `otlp` if there is one.
pub(super) fn start(settings: &TelemetrySettings, otlp: Option<&Otlp>) {
    // What these report is reported by whoever uses them, once and not with every attempt. Who asks for more gets it.
    let quiet = format!("kube_client=off,kube_runtime=off,{}", settings.log);
    let filter = EnvFilter::try_new(quiet).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match settings.log_format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // What exporting itself has to say, at a level that shows it, would be exported again.
    let of_ours =
        FilterFn::new(|event| !["h2", "hyper", "opentelemetry", "tonic", "tower"].iter().any(|of| event.target().starts_with(of)));
    let records = otlp.map(|otlp| OpenTelemetryTracingBridge::new(otlp.logs()).with_filter(of_ours));
    // An error means that the process logs already.
    let _ = tracing_subscriber::registry().with(filter).with(lines).with(records).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_refused() {
        assert!(filter("info,sip_edge=debug").is_ok());
        assert!(filter("sip_edge=loud").is_err());
    }
}
