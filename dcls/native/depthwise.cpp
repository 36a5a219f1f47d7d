// Depthwise "same" convolution and its weight gradient for float32 on the CPU.
//
// Sixteen channels at a time are copied into planes with a border of zeros, so that neighbouring
// cells of a row fill a vector whatever the memory layout. Taps of the kernel that are zero, or
// that meet no cell of the map, are skipped: a bilinear kernel of 34 points has 136 taps at most,
// of 289 cells. A tile of output cells stays in registers while the taps run past.
//
// Built by kernels.py and called by depthwise.py, which checks types and shapes. No global state.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int64_t LANES = 16;
#else
constexpr int64_t LANES = 8;
#endif
constexpr int64_t PLANES = 16;            // channels copied together
constexpr int64_t REGISTERS = 14;         // vectors of a tile, of the 16 that AVX2 has
constexpr int64_t MOST_LAGS = 13;         // vectors of sums of the weight gradient
constexpr int64_t BAND_FLOATS = 1 << 18;  // of the planes of a band of rows: stays in the caches
constexpr int64_t SAMPLES_PER_SUM = 8;    // samples whose weight gradients one task adds up

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

struct Shape {
  int64_t samples, channels, height, width;  // of the map
  int64_t kernel_height, kernel_width;       // both odd
  int64_t channels_last;                     // whether the map lies as (N, H, W, C)

  int64_t rows_around() const { return std::min(kernel_height / 2, height - 1); }
  int64_t columns_around() const { return std::min(kernel_width / 2, width - 1); }
  int64_t vectors() const { return (width + LANES - 1) / LANES; }
  int64_t stride() const { return vectors() * LANES + 2 * columns_around(); }
  int64_t blocks() const { return (channels + PLANES - 1) / PLANES; }
  int64_t kernel_cells() const { return kernel_height * kernel_width; }
  // Rows that are computed together.
  int64_t band() const {
    const int64_t fitting = BAND_FLOATS / (PLANES * stride()) - 2 * rows_around();
    const int64_t most = std::max<int64_t>(fitting, 2 * rows_around() + 1);
    const int64_t bands = (height + most - 1) / most;
    return (height + bands - 1) / bands;
  }
  int64_t bands() const { return (height + band() - 1) / band(); }
};

// Planes of a band with a border: row 0 is `rows_around` above the band.
struct Planes {
  int64_t stride, left, rows;
  std::vector<float> cells;

  Planes(int64_t stride, int64_t left, int64_t rows)
      : stride(stride), left(left), rows(rows), cells(PLANES * rows * stride + 2 * LANES) {}

  float* plane(int64_t channel) { return cells.data() + channel * rows * stride; }
};

void read_row(const Shape& s, const float* x, int64_t n, int64_t c0, int64_t count, int64_t y,
              float* target, int64_t between) {
  if (s.channels_last) {
    const float* from = x + ((n * s.height + y) * s.width) * s.channels + c0;
    if (count == PLANES) {
      for (int64_t column = 0; column < s.width; ++column, from += s.channels)
        for (int64_t c = 0; c < PLANES; ++c) target[c * between + column] = from[c];
    } else {
      for (int64_t column = 0; column < s.width; ++column, from += s.channels)
        for (int64_t c = 0; c < count; ++c) target[c * between + column] = from[c];
    }
    return;
  }
  for (int64_t c = 0; c < count; ++c)
    std::memcpy(target + c * between, x + (((n * s.channels + c0 + c) * s.height) + y) * s.width,
                s.width * sizeof(float));
}

void write_row(const Shape& s, float* x, int64_t n, int64_t c0, int64_t count, int64_t y,
               const float* source, int64_t between) {
  if (s.channels_last) {
    float* to = x + ((n * s.height + y) * s.width) * s.channels + c0;
    for (int64_t column = 0; column < s.width; ++column, to += s.channels)
      for (int64_t c = 0; c < count; ++c) to[c] = source[c * between + column];
    return;
  }
  for (int64_t c = 0; c < count; ++c)
    std::memcpy(x + (((n * s.channels + c0 + c) * s.height) + y) * s.width, source + c * between,
                s.width * sizeof(float));
}

// Rows first - around to first + rows + around of a map; rows outside it become zero.
void read_band(const Shape& s, const float* x, int64_t n, int64_t c0, int64_t count, int64_t first,
               int64_t rows, int64_t around, Planes& planes) {
  for (int64_t row = 0; row < rows + 2 * around; ++row) {
    const int64_t y = first - around + row;
    float* target = planes.plane(0) + row * planes.stride + planes.left;
    if (y >= 0 && y < s.height) {
      read_row(s, x, n, c0, count, y, target, planes.rows * planes.stride);
    } else {
      for (int64_t c = 0; c < count; ++c)
        std::memset(target + c * planes.rows * planes.stride, 0, s.width * sizeof(float));
    }
  }
}

struct Tap {
  int32_t offset;  // from an output cell to the input cell, in a plane
  float value;
};

// The taps that are not zero of each channel of a block, in order of their rows.
struct Taps {
  int64_t rows, cells;          // of the part of the kernel that can meet the map
  std::vector<Tap> taps;        // `cells` places per channel
  std::vector<int32_t> starts;  // per channel, first tap of each row, and the end

  explicit Taps(const Shape& s)
      : rows(2 * s.rows_around() + 1),
        cells(rows * (2 * s.columns_around() + 1)),
        taps(PLANES * cells + 1),
        starts(PLANES * (rows + 1)) {}

  void fill(const Shape& s, const float* kernel, int64_t channel) {
    const int64_t up = s.rows_around(), left = s.columns_around();
    Tap* own = taps.data() + channel * cells;
    int32_t* start = starts.data() + channel * (rows + 1);
    int32_t found = 0;
    for (int64_t dy = -up; dy <= up; ++dy) {
      start[dy + up] = found;
      for (int64_t dx = -left; dx <= left; ++dx) {
        const int64_t row = s.kernel_height / 2 + dy, column = s.kernel_width / 2 + dx;
        const float value = kernel[row * s.kernel_width + column];
        own[found] = {static_cast<int32_t>(dy * s.stride() + dx), value};
        found += value != 0;
      }
    }
    start[rows] = found;
  }

  // Taps that meet the map from some row of first to first + count.
  std::pair<const Tap*, const Tap*> meeting(const Shape& s, int64_t channel, int64_t first,
                                            int64_t count) const {
    const int64_t up = s.rows_around();
    const Tap* own = taps.data() + channel * cells;
    const int32_t* start = starts.data() + channel * (rows + 1);
    const int64_t low = std::max(-up, -(first + count - 1));
    const int64_t high = std::min(up, s.height - 1 - first);
    return {own + start[low + up], own + start[high + up + 1]};
  }
};

template <int ROWS, int VECTORS>
void convolve_tile(const float* x, int64_t stride, const Tap* tap, const Tap* end, float bias,
                   float* y, int64_t y_stride) {
  Vector sums[ROWS][VECTORS];
  for (auto& row : sums)
    for (Vector& sum : row) sum = Vector{} + bias;  // `auto` would expect them to be aligned
  for (; tap < end; ++tap) {
    const float* from = x + tap->offset;
    const Vector value = Vector{} + tap->value;
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; ++v)
        sums[r][v] += value * *reinterpret_cast<const Vector*>(from + r * stride + v * LANES);
  }
  for (int r = 0; r < ROWS; ++r)
    for (int v = 0; v < VECTORS; ++v)
      *reinterpret_cast<Vector*>(y + r * y_stride + v * LANES) = sums[r][v];
}

typedef void (*Tile)(const float*, int64_t, const Tap*, const Tap*, float, float*, int64_t);

constexpr int most_rows(int vectors) { return static_cast<int>(REGISTERS) / vectors; }

template <int VECTORS, int ROWS = most_rows(VECTORS)>
Tile tile_of(int64_t rows) {
  if constexpr (ROWS > 1)
    if (rows < ROWS) return tile_of<VECTORS, ROWS - 1>(rows);
  return convolve_tile<ROWS, VECTORS>;
}

constexpr int64_t MOST_VECTORS = 7;

Tile find_tile(int64_t rows, int64_t vectors) {
  switch (vectors) {
    case 1: return tile_of<1>(rows);
    case 2: return tile_of<2>(rows);
    case 3: return tile_of<3>(rows);
    case 4: return tile_of<4>(rows);
    case 5: return tile_of<5>(rows);
    case 6: return tile_of<6>(rows);
    default: return tile_of<7>(rows);
  }
}

// One plane of a band, in tiles of nearly equal size.
void convolve_plane(const Shape& s, const Taps& taps, int64_t channel, int64_t first, int64_t rows,
                    const Planes& x, const float* plane, float bias, float* y, int64_t y_stride) {
  const int64_t all = s.vectors(), across = (all + MOST_VECTORS - 1) / MOST_VECTORS;
  for (int64_t i = 0; i < across; ++i) {
    const int64_t v = i * all / across, vectors = (i + 1) * all / across - v;
    const int64_t most = REGISTERS / vectors, down = (rows + most - 1) / most;
    for (int64_t j = 0; j < down; ++j) {
      const int64_t r = j * rows / down, count = (j + 1) * rows / down - r;
      const auto [tap, end] = taps.meeting(s, channel, first + r, count);
      find_tile(count, vectors)(
          plane + (r + s.rows_around()) * x.stride + x.left + v * LANES, x.stride, tap, end, bias,
          y + r * y_stride + v * LANES, y_stride);
    }
  }
}

template <int LAGS>
void correlate_rows(const float* g, int64_t g_stride, const float* x, int64_t x_stride,
                    int64_t rows, int64_t vectors, Vector* total) {
  Vector sums[LAGS];
  for (int lag = 0; lag < LAGS; ++lag) sums[lag] = total[lag];
  for (int64_t y = 0; y < rows; ++y)
    for (int64_t v = 0; v < vectors; ++v) {
      const Vector value = *reinterpret_cast<const Vector*>(g + y * g_stride + v * LANES);
      const float* from = x + y * x_stride + v * LANES;
#pragma GCC unroll 16
      for (int lag = 0; lag < LAGS; ++lag)
        sums[lag] += value * *reinterpret_cast<const Vector*>(from + lag);
    }
  for (int lag = 0; lag < LAGS; ++lag) total[lag] = sums[lag];
}

typedef void (*Correlation)(const float*, int64_t, const float*, int64_t, int64_t, int64_t,
                            Vector*);

template <int LAGS = MOST_LAGS>
Correlation correlation_of(int64_t lags) {
  if constexpr (LAGS > 1)
    if (lags < LAGS) return correlation_of<LAGS - 1>(lags);
  return correlate_rows<LAGS>;
}

// Adds the products of one plane of a band to the sums of its kernel cells.
void correlate_plane(const Shape& s, int64_t first, int64_t rows, const float* g, int64_t g_stride,
                     const float* x, int64_t x_stride, Vector* total) {
  const int64_t up = s.rows_around(), lags = 2 * s.columns_around() + 1;
  const int64_t parts = (lags + MOST_LAGS - 1) / MOST_LAGS;
  for (int64_t dy = -up; dy <= up; ++dy) {
    const int64_t from = std::max(first, -dy), to = std::min(first + rows, s.height - dy);
    if (from >= to) continue;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t lag = part * lags / parts, count = (part + 1) * lags / parts - lag;
      correlation_of(count)(g + (from - first) * g_stride, g_stride,
                            x + (from - first + up + dy) * x_stride + lag, x_stride, to - from,
                            s.vectors(), total + (dy + up) * lags + lag);
    }
  }
}

float sum_of(const Vector& lanes) {
  float total = 0;
  for (int64_t lane = 0; lane < LANES; ++lane) total += lanes[lane];
  return total;
}

}  // namespace

extern "C" {

// y = convolution of x (of the given shape and layout) with weight (C, KH, KW), plus bias (C)
// unless that is null.
void dcls_depthwise(const float* x, const float* weight, const float* bias, float* y,
                    const int64_t* shape, int64_t threads) {
  const Shape s = {shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6]};
  const int64_t up = s.rows_around(), band = s.band(), bands = s.bands();
  const int64_t y_stride = s.vectors() * LANES;
  const int64_t tasks = s.samples * s.blocks() * bands;
  const int64_t chunk = std::max<int64_t>(1, tasks / (4 * threads));
#pragma omp parallel num_threads(threads)
  {
    Taps taps(s);
    Planes planes(s.stride(), s.columns_around(), band + 2 * up);
    std::vector<float> results(PLANES * band * y_stride);
    int64_t filled = -1;
#pragma omp for schedule(dynamic, chunk)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t first = task % bands * band, rows = std::min(band, s.height - first);
      const int64_t n = task / bands % s.samples, c0 = task / bands / s.samples * PLANES;
      const int64_t count = std::min(PLANES, s.channels - c0);
      if (filled != c0)
        for (int64_t c = 0; c < count; ++c)
          taps.fill(s, weight + (c0 + c) * s.kernel_cells(), c);
      filled = c0;
      read_band(s, x, n, c0, count, first, rows, up, planes);
      for (int64_t c = 0; c < count; ++c)
        convolve_plane(s, taps, c, first, rows, planes, planes.plane(c),
                       bias ? bias[c0 + c] : 0.0f, results.data() + c * band * y_stride, y_stride);
      for (int64_t row = 0; row < rows; ++row)
        write_row(s, y, n, c0, count, first + row, results.data() + row * y_stride,
                  band * y_stride);
    }
  }
}

// Gradient (C, KH, KW) of the weight, given x and the gradient of the output, alike in layout.
void dcls_depthwise_weight_gradient(const float* x, const float* gradient, float* result,
                                    const int64_t* shape, int64_t threads) {
  const Shape s = {shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6]};
  const int64_t up = s.rows_around(), left = s.columns_around(), band = s.band();
  const int64_t lags = (2 * up + 1) * (2 * left + 1), g_stride = s.vectors() * LANES;
  const int64_t groups = (s.samples + SAMPLES_PER_SUM - 1) / SAMPLES_PER_SUM;
  std::vector<float> partial(groups * s.channels * lags);
#pragma omp parallel num_threads(threads)
  {
    Planes inputs(s.stride(), left, band + 2 * up), gradients(g_stride, 0, band);
    std::vector<float> lanes(PLANES * lags * LANES);
    Vector* sums = reinterpret_cast<Vector*>(lanes.data());
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < groups * s.blocks(); ++task) {
      const int64_t group = task / s.blocks(), c0 = task % s.blocks() * PLANES;
      const int64_t count = std::min(PLANES, s.channels - c0);
      std::fill(lanes.begin(), lanes.end(), 0.0f);
      const int64_t end = std::min(s.samples, (group + 1) * SAMPLES_PER_SUM);
      for (int64_t n = group * SAMPLES_PER_SUM; n < end; ++n)
        for (int64_t first = 0; first < s.height; first += band) {
          const int64_t rows = std::min(band, s.height - first);
          read_band(s, x, n, c0, count, first, rows, up, inputs);
          read_band(s, gradient, n, c0, count, first, rows, 0, gradients);
          for (int64_t c = 0; c < count; ++c)
            correlate_plane(s, first, rows, gradients.plane(c), g_stride, inputs.plane(c),
                            inputs.stride, sums + c * lags);
        }
      for (int64_t i = 0; i < count * lags; ++i)
        partial[(group * s.channels + c0) * lags + i] = sum_of(sums[i]);
    }
  }
  std::fill(result, result + s.channels * s.kernel_cells(), 0.0f);
  const int64_t top = s.kernel_height / 2 - up, side = s.kernel_width / 2 - left;
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t c = 0; c < s.channels; ++c)
      for (int64_t row = 0; row < 2 * up + 1; ++row)
        for (int64_t column = 0; column < 2 * left + 1; ++column)
          result[c * s.kernel_cells() + (top + row) * s.kernel_width + side + column] +=
              partial[((group * s.channels + c) * (2 * up + 1) + row) * (2 * left + 1) + column];
}

}  // extern "C"
