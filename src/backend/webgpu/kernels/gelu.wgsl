#include order
// GPT-2's GELU: x e / (e + 1) with e = exp(2 sqrt(2 / pi) (x + 0.044715 x^3)).
fn gelu(x: f32) -> f32 {
  let cube = rounded(rounded(rounded(0.044715 * x) * x) * x);
  let e = exponential(rounded(1.595769 * rounded(x + cube)));
  return rounded(x * divided(e, rounded(e + 1.0)));
}
