// train/chance.rs's decisions, one thread an element: the same key, row and
// column drop the same element as on the processor.

typedef unsigned int u32;
typedef unsigned long long u64;

// SplitMix64's finaliser.
__device__ u64 mix(u64 x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// out (n) = x (n) without what is dropped, in rows of `width`.
extern "C" __global__ void dropout(
    const float *x, float *out, const u64 n, const u64 width, const u64 key, const u32 threshold, const float scale
) {
    const u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) {
        return;
    }
    const u64 row = mix(key ^ (i / width));
    const u32 column = (u32)(i % width);
    u32 h = column * 0x9e3779b9u + (u32)row;
    h = (h ^ (h >> 16)) * 0x7feb352du ^ (u32)(row >> 32);
    h = (h ^ (h >> 15)) * 0x846ca68bu;
    h ^= h >> 16;
    out[i] = h < threshold ? 0.0f : x[i] * scale;
}
