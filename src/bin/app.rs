//! The app, compiled to wasm; everything is in the library.

fn main() {
    huggingtweets::web::app::start();
}
