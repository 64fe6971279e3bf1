#include order
// GPT-2's GELU: x e / (e + 1) with e = exp(2 sqrt(2 / pi) (x + 0.044715 x^3)).
fn gelu(x: f32) -> f32 {
  let e = exponential(1.595769 * (x + 0.044715 * x * x * x));
  return x * (e / (e + 1.0));
}
