//! The worker, compiled to wasm; everything is in the library.

fn main() {
    huggingtweets::web::worker::start();
}
