//! The options that the worker's scripts need before there is an engine: they choose the build,
//! reserve its memory and start its threads. `www/worker-start.js` gets them as a URL query.

use super::{
    bots::Place,
    query::{Memory, Query, Simd},
};
use crate::web::protocol::Precision;

#[derive(Debug, Clone, PartialEq)]
pub struct WorkerOptions {
    /// The bot's absolute URL; the size of its weights decides the memory.
    model: String,
    /// That size, if known beforehand.
    bytes: Option<u64>,
    precision: Precision,
    /// The bot's own, if it lacks the requested one.
    only_precision: Option<Precision>,
    /// `None`: decided by what the browser supports.
    threads: Option<usize>,
    simd: Option<Simd>,
    memory: Option<Memory>,
}

impl WorkerOptions {
    pub fn new(query: &Query, model: String) -> Self {
        let Query { precision, threads, simd, memory, .. } = *query;
        Self { model, bytes: None, precision, only_precision: None, threads, simd, memory }
    }

    /// The same options for another bot.
    pub fn with_place(self, place: &Place) -> Self {
        Self { model: place.model.clone(), bytes: place.bytes, only_precision: place.precision, ..self }
    }

    /// Names and values of the URL query.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let file = self.only_precision.unwrap_or(self.precision).file_name();
        let mut parameters = vec![("model", self.model.clone()), ("file", file.into())];
        parameters.extend(self.bytes.map(|bytes| ("bytes", bytes.to_string())));
        parameters.extend(self.threads.map(|threads| ("threads", threads.to_string())));
        parameters.extend(self.simd.map(|simd| ("simd", simd.name().into())));
        parameters.extend(self.memory.map(|memory| ("memory", memory.name().into())));
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_given_options_are_sent() {
        let options = WorkerOptions::new(&Query::default(), "https://example.org/bot/".into());
        let model = ("model", "https://example.org/bot/".to_owned());
        assert_eq!(options.parameters(), [model.clone(), ("file", "model-q8_0.gguf".into())]);
        let query = Query {
            precision: Precision::Q4_0,
            threads: Some(2),
            simd: Some(Simd::Plain),
            memory: Some(Memory::Single),
            ..Query::default()
        };
        let expected = [
            model,
            ("file", "model-q4_0.gguf".into()),
            ("threads", "2".into()),
            ("simd", "plain".into()),
            ("memory", "single".into()),
        ];
        let options = WorkerOptions::new(&query, "https://example.org/bot/".into());
        assert_eq!(options.parameters(), expected);
        let local = Place { model: "https://local.invalid/".into(), bytes: Some(9), ..Place::default() };
        let parameters = options.clone().with_place(&local).parameters();
        assert_eq!(parameters[0].1, "https://local.invalid/");
        assert_eq!(parameters[2], ("bytes", "9".into()));
        let eight = Place { precision: Some(Precision::Q8_0), ..local.clone() };
        let options = options.with_place(&eight);
        assert_eq!(options.parameters()[1].1, "model-q8_0.gguf");
        assert_eq!(options.with_place(&local).parameters()[1].1, "model-q4_0.gguf");
    }
}
