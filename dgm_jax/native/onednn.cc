// The three bilinear maps of a convolution by oneDNN, as one XLA FFI handler for the CPU.
//
//   map 0, forward            y = conv(x, w)        x [lanes, B, H, W, C]
//   map 1, gradient of x      x = conv(., w)^T y    w [lanes, kh, kw, C, N]
//   map 2, gradient of w      w = conv(x, .)^T y    y [lanes, B, H', W', N]
//
// An operand with one lane serves all lanes of the result, which are computed one after the other.
// float32, and bfloat16 on a processor that oneDNN has bfloat16 kernels for.
//
// Nothing is thrown through XLA: what oneDNN or the allocator throws comes back as an ffi::Error
// that names the map and the shapes. Primitives are cached, the least recently used ones leave.
// One convolution runs at a time: each uses all of OpenMP's threads, and two teams of them on the
// same cores would wait for each other.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "oneapi/dnnl/dnnl.hpp"
#include "xla/ffi/api/ffi.h"

// Of the OpenMP that oneDNN is linked to, if it is.
extern "C" {
__attribute__((weak)) int omp_get_max_threads();
__attribute__((weak)) void omp_set_num_threads(int);
}

namespace {

namespace ffi = xla::ffi;
using dnnl::memory;

enum Map : int64_t { kForward = 0, kInputGradient = 1, kKernelGradient = 2 };
constexpr const char* kNames[] = {"forward", "gradient of the input", "gradient of the kernel"};

constexpr size_t kMostPrimitives = 256;
constexpr size_t kKeptScratch = size_t{64} << 20;  // bytes that a thread keeps between calls
// To wake OpenMP's threads takes longer than to reorder so many bytes, of most kernels, alone.
constexpr size_t kAlone = size_t{256} << 10;

// One lane's convolution; the key of the cache.
struct Geometry {
  int64_t map, batch, height, width, channels, kernel_height, kernel_width, features, out_height,
      out_width, stride_height, stride_width, top, left, is_bfloat16;

  auto fields() const {
    return std::array<int64_t, 15>{map,          batch,        height,        width,
                                   channels,     kernel_height, kernel_width, features,
                                   out_height,   out_width,    stride_height, stride_width,
                                   top,          left,         is_bfloat16};
  }
  bool operator<(const Geometry& other) const { return fields() < other.fields(); }

  int64_t images() const { return batch * height * width * channels; }
  int64_t kernels() const { return kernel_height * kernel_width * channels * features; }
  int64_t results() const { return batch * out_height * out_width * features; }
};

dnnl::engine& Engine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// What oneDNN makes or executes in its scope uses the calling thread only.
class Alone {
 public:
  explicit Alone(bool wanted) {
    if (!wanted || !omp_set_num_threads || !omp_get_max_threads) return;
    before_ = omp_get_max_threads();
    omp_set_num_threads(1);
  }
  ~Alone() {
    if (before_) omp_set_num_threads(before_);
  }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

 private:
  int before_ = 0;
};

// A primitive with its reorders between the caller's layouts and the ones that it works in.
struct Convolution {
  dnnl::primitive primitive;
  std::array<memory::desc, 3> ours, theirs;  // of x, w, y: NHWC and HWIO; what the primitive wants
  std::array<dnnl::primitive, 3> reorders;   // empty where the two are the same
  std::array<bool, 3> alone{};               // reorders of little
  memory::desc scratch;
  std::array<size_t, 4> offsets;  // in the workspace: x, w, y, scratch
  size_t workspace = 0;
};

size_t Aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

int Output(int64_t map) { return map == kForward ? 2 : map == kInputGradient ? 0 : 1; }

template <class Description>
void Fill(Convolution& c, const Description& d, int64_t map) {
  const bool gradient_of_x = map == kInputGradient, gradient_of_w = map == kKernelGradient;
  c.theirs = {gradient_of_x ? d.diff_src_desc() : d.src_desc(),
              gradient_of_w ? d.diff_weights_desc() : d.weights_desc(),
              map == kForward ? d.dst_desc() : d.diff_dst_desc()};
  c.scratch = d.scratchpad_desc();
  for (int i = 0; i < 3; ++i) {
    c.offsets[i] = c.workspace;
    if (c.ours[i] == c.theirs[i]) continue;
    c.workspace += Aligned(c.theirs[i].get_size());
    const bool out = i == Output(map);
    c.alone[i] = c.theirs[i].get_size() <= kAlone;
    const Alone alone(c.alone[i]);
    c.reorders[i] = dnnl::reorder(dnnl::reorder::primitive_desc(
        Engine(), out ? c.theirs[i] : c.ours[i], Engine(), out ? c.ours[i] : c.theirs[i]));
  }
  c.offsets[3] = c.workspace;
  c.workspace += Aligned(c.scratch.get_size());
}

std::shared_ptr<Convolution> Make(const Geometry& g) {
  using tag = memory::format_tag;
  const auto type = g.is_bfloat16 ? memory::data_type::bf16 : memory::data_type::f32;
  const memory::dims x{g.batch, g.channels, g.height, g.width};
  const memory::dims w{g.features, g.channels, g.kernel_height, g.kernel_width};
  const memory::dims y{g.batch, g.features, g.out_height, g.out_width};
  const memory::dims strides{g.stride_height, g.stride_width}, before{g.top, g.left};
  const memory::dims after{
      (g.out_height - 1) * g.stride_height + g.kernel_height - g.height - g.top,
      (g.out_width - 1) * g.stride_width + g.kernel_width - g.width - g.left};
  auto made = std::make_shared<Convolution>();
  made->ours = {memory::desc(x, type, tag::nhwc), memory::desc(w, type, tag::hwio),
                memory::desc(y, type, tag::nhwc)};
  const auto& [ux, uw, uy] = made->ours;
  const memory::desc any(w, type, tag::any);
  const auto algorithm = dnnl::algorithm::convolution_direct;
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);

  const dnnl::convolution_forward::primitive_desc forward(
      Engine(), dnnl::prop_kind::forward_training, algorithm, ux, any, uy, strides, before, after,
      attributes);
  if (g.map == kForward) {
    made->primitive = dnnl::convolution_forward(forward);
    Fill(*made, forward, g.map);
  } else if (g.map == kInputGradient) {
    const dnnl::convolution_backward_data::primitive_desc backward(
        Engine(), algorithm, ux, any, uy, strides, before, after, forward, attributes);
    made->primitive = dnnl::convolution_backward_data(backward);
    Fill(*made, backward, g.map);
  } else {
    const dnnl::convolution_backward_weights::primitive_desc backward(
        Engine(), algorithm, ux, any, uy, strides, before, after, forward, attributes);
    made->primitive = dnnl::convolution_backward_weights(backward);
    Fill(*made, backward, g.map);
  }
  return made;
}

// The cached primitive, or a new one. The pointer stays good when the cache drops its own.
std::shared_ptr<Convolution> Get(const Geometry& geometry) {
  using Entry = std::pair<Geometry, std::shared_ptr<Convolution>>;
  static std::mutex mutex;
  static std::list<Entry> recent;  // the last used first
  static std::map<Geometry, std::list<Entry>::iterator> found;
  std::lock_guard<std::mutex> guard(mutex);
  if (auto it = found.find(geometry); it != found.end()) {
    recent.splice(recent.begin(), recent, it->second);
    return it->second->second;
  }
  auto made = Make(geometry);
  recent.emplace_front(geometry, made);
  found[geometry] = recent.begin();
  if (recent.size() > kMostPrimitives) {
    found.erase(recent.back().first);
    recent.pop_back();
  }
  return made;
}

// Memory for reordered operands and scratch: a thread keeps a moderate amount, the rest is freed.
class Workspace {
 public:
  explicit Workspace(size_t bytes) {
    thread_local std::unique_ptr<char[]> kept;
    thread_local size_t size = 0;
    bytes += 63;
    if (bytes > kKeptScratch) {
      own_.reset(new char[bytes]);
    } else if (bytes > size) {
      kept.reset();
      size = 0;
      kept.reset(new char[bytes]);
      size = bytes;
    }
    const auto address = reinterpret_cast<uintptr_t>(own_ ? own_.get() : kept.get());
    start_ = reinterpret_cast<char*>(Aligned(address));
  }
  char* at(size_t offset) const { return start_ + offset; }

 private:
  std::unique_ptr<char[]> own_;
  char* start_;
};

void Reorder(const Convolution& c, int operand, const memory& from, const memory& to,
             dnnl::stream& stream) {
  const Alone alone(c.alone[operand]);
  c.reorders[operand].execute(stream, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

void Run(const Convolution& c, int64_t map, std::array<void*, 3> data, const Workspace& space) {
  static dnnl::stream stream(Engine());
  std::array<memory, 3> outer, inner;
  const int out = Output(map);
  for (int i = 0; i < 3; ++i) {
    outer[i] = memory(c.ours[i], Engine(), data[i]);
    const bool same = !c.reorders[i];
    inner[i] = same ? outer[i] : memory(c.theirs[i], Engine(), space.at(c.offsets[i]));
    if (!same && i != out) Reorder(c, i, outer[i], inner[i], stream);
  }
  const memory scratch(c.scratch, Engine(), space.at(c.offsets[3]));
  c.primitive.execute(
      stream, {{map == kInputGradient ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, inner[0]},
               {map == kKernelGradient ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, inner[1]},
               {map == kForward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, inner[2]},
               {DNNL_ARG_SCRATCHPAD, scratch}});
  if (c.reorders[out]) Reorder(c, out, inner[out], outer[out], stream);
  stream.wait();
}

std::string Shape(const ffi::AnyBuffer& buffer) {
  std::ostringstream text;
  text << "[";
  const char* separator = "";
  for (int64_t size : buffer.dimensions()) {
    text << separator << size;
    separator = ", ";
  }
  text << "]";
  return text.str();
}

void Require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

// All lanes of one call. Throws; the handler below turns that into an error with shapes.
void Compute(int64_t map, const std::array<ffi::AnyBuffer, 3>& buffers, int64_t stride_height,
             int64_t stride_width, int64_t top, int64_t left) {
  const auto& [bx, bw, by] = buffers;
  for (const auto& buffer : buffers) {
    Require(buffer.dimensions().size() == 5, "each array needs five axes, lanes first");
    Require(buffer.element_type() == bx.element_type(), "the arrays are of different types");
  }
  const bool is_bfloat16 = bx.element_type() == ffi::BF16;
  Require(is_bfloat16 || bx.element_type() == ffi::F32, "the type must be float32 or bfloat16");
  const auto x = bx.dimensions(), w = bw.dimensions(), y = by.dimensions();
  Require(stride_height >= 1 && stride_width >= 1, "strides must be at least 1");
  Require(top >= 0 && left >= 0, "paddings must not be negative");
  Require(x[1] == y[1], "x and y hold different numbers of images");
  Require(x[4] == w[3], "x and the kernel differ in channels");
  Require(y[4] == w[4], "y and the kernel differ in features");
  const Geometry g{map,  x[1], x[2],          x[3],         x[4], w[1], w[2],       w[4],
             y[2], y[3], stride_height, stride_width, top,  left, is_bfloat16};

  const int out = Output(map);
  std::array<int64_t, 3> lanes{x[0], w[0], y[0]};
  for (int i = 0; i < 3; ++i)
    Require(lanes[i] == 1 || lanes[i] == lanes[out], "lanes must be one or those of the result");
  if (buffers[out].element_count() == 0) return;
  if (bx.element_count() == 0 || bw.element_count() == 0 || by.element_count() == 0) {
    std::memset(buffers[out].untyped_data(), 0, buffers[out].size_bytes());
    return;
  }

  const auto convolution = Get(g);
  const Workspace space(convolution->workspace);
  const int64_t bytes = is_bfloat16 ? 2 : 4;
  const std::array<int64_t, 3> sizes{g.images() * bytes, g.kernels() * bytes, g.results() * bytes};
  static std::mutex one_at_a_time;
  std::lock_guard<std::mutex> guard(one_at_a_time);
  for (int64_t lane = 0; lane < lanes[out]; ++lane) {
    std::array<void*, 3> data;
    for (int i = 0; i < 3; ++i)
      data[i] = static_cast<char*>(buffers[i].untyped_data()) +
                (lanes[i] == 1 ? 0 : lane * sizes[i]);
    Run(*convolution, map, data, space);
  }
}

ffi::Error Handle(ffi::AnyBuffer a, ffi::AnyBuffer b, ffi::Result<ffi::AnyBuffer> result,
                  int64_t map, int64_t stride_height, int64_t stride_width, int64_t top,
                  int64_t left) {
  std::string problem;
  ffi::ErrorCode code = ffi::ErrorCode::kInternal;
  try {
    Require(map >= kForward && map <= kKernelGradient, "there is no such map");
    const ffi::AnyBuffer out = *result;
    const std::array<std::array<ffi::AnyBuffer, 3>, 3> roles{{{a, b, out}, {out, b, a}, {a, out, b}}};
    Compute(map, roles[map], stride_height, stride_width, top, left);
    return ffi::Error::Success();
  } catch (const std::invalid_argument& error) {
    problem = error.what();
    code = ffi::ErrorCode::kInvalidArgument;
  } catch (const std::bad_alloc&) {
    problem = "out of memory";
    code = ffi::ErrorCode::kResourceExhausted;
  } catch (const std::exception& error) {  // dnnl::error is one
    problem = error.what();
  } catch (...) {
    problem = "unknown error";
  }
  const bool known = map >= kForward && map <= kKernelGradient;
  std::ostringstream text;
  text << "convolution by oneDNN (" << (known ? kNames[map] : "?") << "): " << problem
       << "; operands " << Shape(a) << " and " << Shape(b) << ", result " << Shape(*result)
       << ", strides (" << stride_height << ", " << stride_width << "), padding before (" << top
       << ", " << left << ")";
  return ffi::Error(code, text.str());
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(dgm_jax_convolution, Handle,
                              ffi::Ffi::Bind()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int64_t>("map")
                                  .Attr<int64_t>("stride_height")
                                  .Attr<int64_t>("stride_width")
                                  .Attr<int64_t>("top")
                                  .Attr<int64_t>("left"));

// Whether oneDNN has bfloat16 convolutions for this processor.
extern "C" int dgm_jax_has_bfloat16() {
  try {
    Make(Geometry{kForward, 1, 4, 4, 16, 3, 3, 16, 4, 4, 1, 1, 1, 1, 1});
    return 1;
  } catch (...) {
    return 0;
  }
}
