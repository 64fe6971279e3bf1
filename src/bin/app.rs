//! The page, compiled to wasm; everything is in `web::app`.

fn main() {
    huggingtweets::web::app::start();
}
