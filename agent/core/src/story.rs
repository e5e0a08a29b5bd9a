//! Events as text, one a line: the grammar of recordings and of scenarios.

use serde_json::{Map, Value};

use crate::event::{Event, Task};
use crate::units::{Pid, unescape};

/// Fields that are written even where they are 0 or empty, because the language requires them.
const REQUIRED: &[&str] = &[
    "netns",
    "cookie",
    "local",
    "remote",
    "role",
    "pid",
    "parent",
    "comm",
    "number",
    "by_cgroup",
    "wall",
    "stage",
    "count",
    "reason",
    "status",
    "limit_kib",
    "rss_kib",
    "path",
];

/// Why a line is no event.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// The line does not begin with a moment and a fact.
    #[error("a line begins with seconds and a fact: '{0}'")]
    Beginning(String),
    /// A moment that is not seconds with up to nine decimals.
    #[error("'{0}' is not a moment in seconds")]
    Moment(String),
    /// A word that is not `key=value`.
    #[error("'{0}' is not key=value")]
    Pair(String),
    /// A task that is not `comm[pid/tid]<parent:uid`.
    #[error("'{0}' is not a task: comm[pid/tid]<parent:uid")]
    Task(String),
    /// A quoted value that does not end, or has an unknown escape.
    #[error("{0}")]
    Quoted(String),
    /// The fields do not make the fact.
    #[error(transparent)]
    Fields(#[from] serde_json::Error),
}

/// The event as one line without its end.
#[must_use]
pub fn write_event(event: &Event) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(event) else {
        return String::new();
    };
    let mut line = seconds(event.at.0);
    line.push(' ');
    line.push_str(
        fields
            .get("fact")
            .and_then(Value::as_str)
            .unwrap_or_default(),
    );
    for (key, value) in fields
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "at" | "fact"))
    {
        if let Some(text) = value_text(key, value) {
            line.push_str(&format!(" {key}={text}"));
        }
    }
    line
}

/// The event that a line tells.
///
/// # Errors
/// Where the line does not follow the grammar.
pub fn parse_event(line: &str) -> Result<Event, StoryError> {
    let line = line.trim();
    let beginning = || StoryError::Beginning(line.to_owned());
    let (at, rest) = line.split_once(char::is_whitespace).ok_or_else(beginning)?;
    let rest = rest.trim_start();
    let (fact, mut rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let mut fields = Map::new();
    fields.insert("at".to_owned(), nanoseconds(at)?.into());
    fields.insert("fact".to_owned(), fact.into());
    while !rest.trim_start().is_empty() {
        let pair = rest.trim_start();
        let (key, after) = pair
            .split_once('=')
            .ok_or_else(|| StoryError::Pair(pair.to_owned()))?;
        let (text, quoted, after) = word(after)?;
        fields.insert(key.to_owned(), parse_value(key, text, quoted)?);
        rest = after;
    }
    Ok(serde_json::from_value(Value::Object(fields))?)
}

fn value_text(key: &str, value: &Value) -> Option<String> {
    let required = REQUIRED.contains(&key);
    match value {
        Value::Null => None,
        Value::Bool(flag) => (*flag || required).then(|| flag.to_string()),
        Value::Number(number) if key.ends_with("_at") => number.as_u64().map(seconds),
        Value::Number(number) => {
            (number.as_u64() != Some(0) || required).then(|| number.to_string())
        }
        Value::String(text) if key.ends_with("_head") => {
            (!text.is_empty()).then(|| format!("\"{text}\""))
        }
        Value::String(text) => (!text.is_empty() || required).then(|| quote(text)),
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => {
            let name = |item: &Value| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            };
            let names: Vec<String> = items.iter().map(name).collect();
            Some(quote(&names.join(",")))
        }
        Value::Object(fields) => Some(quote(&task_text(fields))),
    }
}

fn parse_value(key: &str, text: &str, quoted: bool) -> Result<Value, StoryError> {
    if key.ends_with("_head") {
        return Ok(text.into());
    }
    if key.ends_with("_at") {
        return Ok(nanoseconds(text)?.into());
    }
    let text = if quoted {
        unquote(text)?
    } else {
        text.to_owned()
    };
    if matches!(key, "missing" | "calls") {
        return Ok(text.split(',').map(str::to_owned).collect());
    }
    if key == "holders" {
        let numbers = text.split(',').map(|pid| pid.parse::<u64>());
        let numbers: Result<Vec<u64>, _> = numbers.collect();
        return Ok(numbers.map_err(|_| StoryError::Pair(text))?.into());
    }
    if matches!(key, "task" | "owner" | "sender" | "server")
        || (key == "target" && text.contains("]<"))
    {
        let task = parse_task(&text).ok_or(StoryError::Task(text))?;
        return Ok(serde_json::to_value(task)?);
    }
    if quoted {
        return Ok(text.into());
    }
    match (text.as_str(), text.parse::<u64>()) {
        ("true", _) => Ok(true.into()),
        ("false", _) => Ok(false.into()),
        (_, Ok(number)) => Ok(number.into()),
        (_, Err(_)) => Ok(text.into()),
    }
}

/// A value up to its end, whether it was quoted, and what follows it.
fn word(text: &str) -> Result<(&str, bool, &str), StoryError> {
    let Some(inner) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Ok((&text[..end], false, &text[end..]));
    };
    let mut escaped = false;
    for (position, byte) in inner.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return Ok((&inner[..position], true, &inner[position + 1..])),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    Err(StoryError::Quoted(format!(
        "a quoted value does not end: \"{inner}"
    )))
}

fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'#');
    let ambiguous = text.parse::<u64>().is_ok() || matches!(text, "true" | "false");
    if !text.is_empty() && !ambiguous && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.as_bytes().escape_ascii())
}

fn unquote(text: &str) -> Result<String, StoryError> {
    let bytes = unescape(text).map_err(StoryError::Quoted)?;
    String::from_utf8(bytes).map_err(|error| StoryError::Quoted(error.to_string()))
}

fn task_text(fields: &Map<String, Value>) -> String {
    let number = |key| fields.get(key).and_then(Value::as_u64).unwrap_or(0);
    let comm = fields
        .get("comm")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (pid, tid) = (number("pid"), number("tid"));
    format!("{comm}[{pid}/{tid}]<{}:{}", number("parent"), number("uid"))
}

/// Read from the right: a name may hold any of the marks itself.
fn parse_task(text: &str) -> Option<Task> {
    let (rest, uid) = text.rsplit_once(':')?;
    let (rest, parent) = rest.rsplit_once("]<")?;
    let (rest, tid) = rest.rsplit_once('/')?;
    let (comm, pid) = rest.rsplit_once('[')?;
    Some(Task {
        pid: Pid(pid.parse().ok()?),
        tid: tid.parse().ok()?,
        parent: Pid(parent.parse().ok()?),
        uid: uid.parse().ok()?,
        comm: comm.to_owned(),
    })
}

fn seconds(nanoseconds: u64) -> String {
    format!(
        "{}.{:09}",
        nanoseconds / 1_000_000_000,
        nanoseconds % 1_000_000_000
    )
}

fn nanoseconds(text: &str) -> Result<u64, StoryError> {
    let error = || StoryError::Moment(text.to_owned());
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if decimals.is_empty() || decimals.len() > 9 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error());
    }
    let whole: u64 = whole.parse().map_err(|_| error())?;
    let decimals: u64 = format!("{decimals:0<9}").parse().map_err(|_| error())?;
    whole
        .checked_mul(1_000_000_000)
        .and_then(|n| n.checked_add(decimals))
        .ok_or_else(error)
}

#[cfg(test)]
mod tests;
