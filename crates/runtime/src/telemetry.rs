//! The operational log: one line per event on standard error, as text or JSON, filtered by `RUST_LOG`.

use std::fmt;
use std::io::IsTerminal as _;
use std::str::FromStr;

use thiserror::Error;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What a line looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// The log could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// No such format.
    #[error("log format {0:?}: must be text or json")]
    Format(String),
    /// A filter that is none.
    #[error("RUST_LOG {value:?}: {reason}; it must look like `info` or `penstock_dataplane=debug,warn`")]
    Filter {
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody was first.
    #[error("the log is set up already")]
    Twice,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(TelemetryError::Format(other.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Sets up the log of the process, on standard error; `RUST_LOG` filters, `info` without it.
///
/// # Errors
/// `RUST_LOG` is no filter, or the log is set up already.
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    let wanted = std::env::var("RUST_LOG").ok();
    let colours = std::io::stderr().is_terminal();
    subscriber(format, wanted.as_deref(), colours, std::io::stderr)?.try_init().map_err(|_| TelemetryError::Twice)
}

/// The log into any writer.
///
/// # Errors
/// `filter` is none.
pub fn subscriber<W>(
    format: LogFormat,
    filter: Option<&str>,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let directives = filter.map(str::trim).filter(|f| !f.is_empty()).unwrap_or("info");
    let filter = EnvFilter::try_new(directives)
        .map_err(|e| TelemetryError::Filter { value: directives.to_owned(), reason: e.to_string() })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match format {
        LogFormat::Text => {
            let lines = OneLine(Format::default().with_ansi(colours));
            Box::new(builder.with_ansi(colours).event_format(lines).finish())
        }
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_current_span(false).finish()),
    })
}

/// Keeps an event on one line, whatever its message holds: a log line that a request can add to is a forged one.
struct OneLine(Format<Full>);

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{}", line.trim_end_matches('\n').replace('\n', "\\n").replace('\r', "\\r"))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: Option<&str>) -> Vec<String> {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(format, filter, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("a detail");
            tracing::info!(path = "/a\nb", count = 3, "first\nsecond");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn text_stays_on_one_line() {
        let lines = logged(LogFormat::Text, None);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("INFO") && lines[0].contains("first\\nsecond") && lines[0].contains("count=3"));
    }

    #[test]
    fn json_is_one_object() {
        let lines = logged(LogFormat::Json, Some("debug"));
        assert_eq!(lines.len(), 2, "{lines:?}");
        let event: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!((event["level"].as_str(), event["count"].as_u64()), (Some("INFO"), Some(3)));
        assert_eq!(event["message"], "first\nsecond");
    }

    #[test]
    fn names_a_filter_that_is_none() {
        let error = subscriber(LogFormat::Text, Some("a=b=c"), false, io::sink).err().unwrap().to_string();
        assert!(error.starts_with("RUST_LOG \"a=b=c\": "), "{error}");
    }

    #[test]
    fn formats_have_names() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse::<LogFormat>().unwrap(), format);
        }
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
