// An accelerator that is not there: torch's private backend, whose tensors lie in main memory and whose operators are
// the CPU's. What tests need to know exactly, it counts: bytes, peaks, waits. It is asynchronous by a debt: every
// operator costs time on a device's own clock, operators queue, and only who waits spends it.
//
// Errors are those of real ones: memory that runs out, a type that it lacks, a device that is lost to its process.
#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace {

constexpr auto KIND = c10::DeviceType::PrivateUse1;
constexpr int COUNT = 2;

thread_local c10::DeviceIndex current = 0;
thread_local bool within_an_operator = false;

enum Events { GOOD, FROZEN, BACKWARDS, REFUSED };

struct State {
  std::atomic<int64_t> waits{0};
  std::atomic<int64_t> operators{0};
  std::atomic<int64_t> cost_ns{0};
  std::atomic<int64_t> capacity{int64_t(128) << 20};
  std::atomic<int> events{GOOD};
  std::atomic<int64_t> done_at_ns[COUNT] = {};
  std::atomic<bool> lost[COUNT] = {};
} state;

int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

void require_there(c10::DeviceIndex device) {
  TORCH_CHECK(!state.lost[device], "fake error: device ", int(device), " is lost to this process");
}

void hand_work(c10::DeviceIndex device) {
  require_there(device);
  state.operators++;
  if (state.cost_ns > 0) state.done_at_ns[device] = std::max(now_ns(), state.done_at_ns[device].load()) + state.cost_ns;
}

void wait_until(int64_t moment_ns) {
  while (now_ns() < moment_ns) std::this_thread::sleep_for(std::chrono::nanoseconds(moment_ns - now_ns()));
}

void wait(c10::DeviceIndex device) {
  require_there(device);
  state.waits++;
  wait_until(state.done_at_ns[device]);
}

// ---- memory: each block is exactly as large as it was asked for

class Memory final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    std::lock_guard<std::mutex> guard(mutex_);
    require_there(current);
    auto& counts = stats_[current].allocated_bytes[0];
    TORCH_CHECK_WITH(OutOfMemoryError, counts.current + int64_t(size) <= state.capacity,
                     "fake:", int(current), " is out of memory: ", size, " bytes were asked for");
    void* block = size ? std::aligned_alloc(64, (size + 63) / 64 * 64) : nullptr;
    if (block) {
      blocks_[block] = {size, current};
      counts.increase(size);
      stats_[current].reserved_bytes[0].increase(size);
      stats_[current].allocation[0].increase(1);
    }
    return {block, block, &Memory::release, c10::Device(KIND, current)};
  }
  static void release(void* block);
  c10::DeleterFnPtr raw_deleter() const override { return &Memory::release; }
  void copy_data(void* to, const void* from, size_t size) const override { std::memcpy(to, from, size); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override { return stats_[device]; }
  void resetAccumulatedStats(c10::DeviceIndex device) override {
    stats_[device].allocated_bytes[0].reset_accumulated();
  }
  void resetPeakStats(c10::DeviceIndex device) override {
    stats_[device].allocated_bytes[0].reset_peak();
    stats_[device].reserved_bytes[0].reset_peak();
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override {
    return {state.capacity - stats_[device].allocated_bytes[0].current, state.capacity};
  }

 private:
  std::mutex mutex_;
  std::unordered_map<void*, std::pair<size_t, c10::DeviceIndex>> blocks_;
  c10::CachingDeviceAllocator::DeviceStats stats_[COUNT];
};

Memory memory;

void Memory::release(void* block) {
  if (!block) return;
  std::lock_guard<std::mutex> guard(memory.mutex_);
  auto found = memory.blocks_.find(block);
  auto [size, device] = found->second;
  memory.stats_[device].allocated_bytes[0].decrease(size);
  memory.stats_[device].reserved_bytes[0].decrease(size);
  memory.stats_[device].allocation[0].decrease(1);
  memory.blocks_.erase(found);
  std::free(block);
}

REGISTER_ALLOCATOR(KIND, &memory);

// ---- devices, their one stream each, and events

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr c10::DeviceType static_type = KIND;
  c10::DeviceType type() const override { return KIND; }
  c10::Device exchangeDevice(c10::Device device) const override {
    c10::Device before(KIND, current);
    current = device.index();
    return before;
  }
  c10::Device getDevice() const override { return c10::Device(KIND, current); }
  void setDevice(c10::Device device) const override { current = device.index(); }
  void uncheckedSetDevice(c10::Device device) const noexcept override { current = device.index(); }
  c10::Stream getStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return COUNT; }

  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex, const c10::EventFlag) const override {
    TORCH_CHECK(state.events != REFUSED, "fake error: no events");
    require_there(stream.device_index());
    if (!*event) *event = new int64_t;
    *static_cast<int64_t*>(*event) = std::max(now_ns(), state.done_at_ns[stream.device_index()].load());
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void* event) const override { return now_ns() >= *static_cast<int64_t*>(event); }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override { delete static_cast<int64_t*>(event); }
  double elapsedTime(void* from, void* to, const c10::DeviceIndex) const override {
    double ms = double(*static_cast<int64_t*>(to) - *static_cast<int64_t*>(from)) / 1e6;
    return state.events == FROZEN ? 0.0 : state.events == BACKWARDS ? -ms : ms;
  }
  void synchronizeEvent(void* event) const override {
    state.waits++;
    wait_until(*static_cast<int64_t*>(event));
  }
  void synchronizeStream(const c10::Stream& stream) const override { wait(stream.device_index()); }
  bool queryStream(const c10::Stream& stream) const override {
    return now_ns() >= state.done_at_ns[stream.device_index()];
  }
  void synchronizeDevice(const c10::DeviceIndex device) const override { wait(device); }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return COUNT; }
  c10::DeviceIndex getCurrentDevice() const override { return current; }
  void setCurrentDevice(c10::DeviceIndex device) const override { current = device; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override { return std::exchange(current, device); }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override {
    return device < 0 ? current : std::exchange(current, device);
  }
  at::Device getDeviceFromPtr(void*) const override { return at::Device(KIND, 0); }
};

Hooks hooks;

// ---- tensors: where they come from, how they are copied and looked at

struct OnDevice {
  c10::DeviceIndex before = current;
  explicit OnDevice(std::optional<c10::Device> device) {
    if (device && device->has_index()) current = device->index();
  }
  ~OnDevice() { current = before; }
};

void require_type(c10::ScalarType type) {
  TORCH_CHECK_TYPE(type != at::kDouble, "Cannot make a tensor of float64 on fake: the device does not support float64");
}

at::Tensor empty(c10::IntArrayRef size, std::optional<c10::ScalarType> type, std::optional<c10::Layout>,
                 std::optional<c10::Device> device, std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  OnDevice on(device);
  require_type(type.value_or(at::kFloat));
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   type.value_or(at::kFloat), format);
}

at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef strides, std::optional<c10::ScalarType> type,
                         std::optional<c10::Layout>, std::optional<c10::Device> device, std::optional<bool>) {
  OnDevice on(device);
  require_type(type.value_or(at::kFloat));
  return at::detail::empty_strided_generic(size, strides, &memory,
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           type.value_or(at::kFloat));
}

at::Tensor on_host(const at::Tensor& tensor) {
  if (tensor.device().type() != KIND) return tensor;
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), tensor.options().device(at::kCPU));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  bool reads = to.device().type() != KIND;
  auto device = (reads ? from : to).device().index();
  require_there(device);
  if (reads && !within_an_operator) wait(device);  // as a blocking copy to the host does
  on_host(to).copy_(on_host(from));
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Tensor as_strided(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef strides,
                      std::optional<c10::SymInt> offset) {
  auto at_element = offset ? std::optional<int64_t>(offset->expect_int()) : std::nullopt;
  return at::native::as_strided_tensorimpl(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(strides),
                                           at_element);
}

at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef size) {
  return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size));
}

at::Tensor reshape_alias(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef strides) {
  return at::native::_reshape_alias(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(strides));
}

const at::Tensor& resize(const at::Tensor& self, c10::SymIntArrayRef size, std::optional<c10::MemoryFormat> format) {
  return at::native::resize_(self, C10_AS_INTARRAYREF_SLOW(size), format);
}

// ---- operators: the CPU's, on the device's clock

struct Operator {
  bool before = std::exchange(within_an_operator, true);
  ~Operator() { within_an_operator = before; }
};

void by_the_cpu(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const auto count = operation.schema().arguments().size();
  auto device = current;
  for (const auto& argument : torch::jit::last(*stack, count)) {
    if (argument.isTensor() && argument.toTensor().defined() && argument.toTensor().device().type() == KIND) {
      device = argument.toTensor().device().index();
      break;
    }
  }
  hand_work(device);
  if (operation.schema().name() == "aten::_local_scalar_dense") wait(device);  // reads a number
  Operator within;
  at::native::cpu_fallback(operation, stack);
}

at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       c10::IntArrayRef stride, c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed,
                       c10::IntArrayRef output_padding, int64_t groups) {
  hand_work(x.device().index());
  Operator within;
  std::optional<at::Tensor> added;
  if (bias && bias->defined()) added = bias->cpu();
  return at::convolution(x.cpu(), weight.cpu(), added, stride, padding, dilation, transposed, output_padding, groups)
      .to(x.device());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight, c10::IntArrayRef stride,
    c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed, c10::IntArrayRef output_padding,
    int64_t groups, std::array<bool, 3> wanted) {
  hand_work(x.device().index());
  Operator within;
  auto found = at::convolution_backward(gradient.cpu(), x.cpu(), weight.cpu(), c10::IntArrayRef{weight.size(0)}, stride,
                                        padding, dilation, transposed, output_padding, groups, wanted);
  auto back = [&](const at::Tensor& each) { return each.defined() ? each.to(x.device()) : each; };
  return {back(std::get<0>(found)), back(std::get<1>(found)), back(std::get<2>(found))};
}

}  // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&by_the_cpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  library.impl("as_strided", as_strided);
  library.impl("view", view);
  library.impl("_reshape_alias", reshape_alias);
  library.impl("resize_", resize);
  library.impl("convolution_overrideable", convolution);
  library.impl("convolution_backward_overrideable", convolution_backward);
}

extern "C" {
void fake_register() { at::RegisterPrivateUse1HooksInterface(&hooks); }
int64_t fake_waits() { return state.waits; }
int64_t fake_operators() { return state.operators; }
void fake_set_cost_ns(int64_t cost) { state.cost_ns = cost; }
void fake_set_capacity(int64_t bytes) { state.capacity = bytes; }
void fake_set_events(int how) { state.events = how; }
void fake_forgive() {
  for (auto& moment : state.done_at_ns) moment = 0;
}
void fake_lose(int device) { state.lost[device] = true; }
void fake_find(int device) { state.lost[device] = false; }
}
