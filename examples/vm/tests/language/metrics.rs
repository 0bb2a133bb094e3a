//! The metrics that `--metrics=json` writes behind everything else on standard error.

use serde_json::Value;

use crate::process::Run;

/// The metrics of one run.
#[derive(Debug)]
pub(crate) struct Metrics(Value);

impl Metrics {
    /// Takes the metrics, which are the last line of standard error, from a run.
    pub(crate) fn split(run: Run) -> Result<(Run, Self), String> {
        let body = run.stderr.strip_suffix('\n').unwrap_or(&run.stderr);
        let (rest, last) = match body.rfind('\n') {
            Some(end) => body.split_at(end + 1),
            None => ("", body),
        };
        match serde_json::from_str::<Value>(last) {
            Ok(value) if value.is_object() => {
                let metrics = Metrics(value);
                Ok((Run { stderr: rest.to_owned(), ..run }, metrics))
            }
            Ok(_) => Err(format!("the metrics are no object: {last}")),
            Err(error) => Err(format!("the last line on stderr is not JSON ({error}): {last}")),
        }
    }

    /// A number at a path such as `/live/objects`.
    pub(crate) fn number(&self, pointer: &str) -> Result<u64, String> {
        let value = self.0.pointer(pointer).ok_or_else(|| format!("the metrics lack {pointer}"))?;
        value.as_u64().ok_or_else(|| format!("{pointer} in the metrics is not a count: {value}"))
    }

    /// What is wrong with the metrics of a run that has ended.
    pub(crate) fn check(&self) -> Vec<String> {
        let mut problems: Vec<String> = ["beats", "steps"]
            .into_iter()
            .filter(|name| self.0.get(name).is_none())
            .map(|name| format!("the metrics lack {name}"))
            .collect();
        problems.extend(self.accounts().unwrap_or_else(|error| vec![error]));
        problems
    }

    /// Every object is in exactly one account, none waits to be freed, and none is left.
    fn accounts(&self) -> Result<Vec<String>, String> {
        for account in ["allocated", "freed", "live", "pending"] {
            self.number(&format!("/{account}/bytes"))?;
        }
        let allocated = self.number("/allocated/objects")?;
        let freed = self.number("/freed/objects")?;
        let live = self.number("/live/objects")?;
        let pending = self.number("/pending/objects")?;
        let leaked = self.number("/leaked_objects")?;

        let mut problems = Vec::new();
        if allocated != freed + live {
            problems.push(format!("allocated {allocated} objects, but freed {freed} and {live} are live"));
        }
        if pending != 0 {
            problems.push(format!("{pending} objects pending at exit"));
        }
        if leaked != 0 {
            problems.push(format!("{leaked} objects leaked"));
        }
        Ok(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stderr: &str) -> Run {
        Run { code: 0, stdout: String::new(), stderr: stderr.to_owned() }
    }

    const GOOD: &str = r#"{"beats":3,"steps":1,"allocated":{"objects":5,"bytes":9},"freed":{"objects":5,"bytes":9},
        "live":{"objects":0,"bytes":0},"pending":{"objects":0,"bytes":0},"leaked_objects":0}"#;

    #[test]
    fn only_the_last_line_is_taken() {
        let line = GOOD.replace('\n', "");
        let (rest, metrics) = Metrics::split(run(&format!("one\n{{}}\n{line}\n"))).unwrap();
        assert_eq!(rest.stderr, "one\n{}\n");
        assert_eq!(metrics.check(), [""; 0]);
        assert!(Metrics::split(run("")).is_err());
        assert!(Metrics::split(run("{}\nnot JSON\n")).is_err());
    }

    #[test]
    fn accounts_must_balance() {
        let check = |from: &str, to: &str| {
            let line = GOOD.replace('\n', "").replace(from, to);
            Metrics::split(run(&line)).unwrap().1.check().len()
        };
        assert_eq!(check("", ""), 0);
        assert_eq!(check(r#""leaked_objects":0"#, r#""leaked_objects":1"#), 1);
        assert_eq!(check(r#""freed":{"objects":5"#, r#""freed":{"objects":3"#), 1);
        assert_eq!(check(r#""pending":{"objects":0"#, r#""pending":{"objects":1"#), 1);
        assert_eq!(check("steps", "stops"), 1);
        assert_eq!(check("leaked", "lost"), 1);
    }
}
