//! What the worker's scripts need before there is an engine to ask: they choose
//! the build, reserve its memory and start its threads. It travels in the
//! worker's address, to `www/worker-start.js`.

use super::query::{Memory, Query, Simd};
use crate::web::protocol::Precision;

#[derive(Debug, Clone, PartialEq)]
pub struct WorkerWish {
    /// The bot's absolute address; its weights' size decides the memory.
    model: String,
    precision: Precision,
    /// `None` leaves the choice to what the browser can do.
    threads: Option<usize>,
    simd: Option<Simd>,
    memory: Option<Memory>,
}

impl WorkerWish {
    pub fn new(query: &Query, model: String) -> Self {
        let Query { precision, threads, simd, memory, .. } = *query;
        Self { model, precision, threads, simd, memory }
    }

    /// Names and values of the worker's address.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = vec![("model", self.model.clone()), ("file", self.precision.file_name().into())];
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
    fn only_wishes_travel() {
        let wish = WorkerWish::new(&Query::default(), "https://example.org/bot/".into());
        let model = ("model", "https://example.org/bot/".to_owned());
        assert_eq!(wish.parameters(), [model.clone(), ("file", "model-q8_0.gguf".into())]);
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
        assert_eq!(WorkerWish::new(&query, "https://example.org/bot/".into()).parameters(), expected);
    }
}
