#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace ecanet {

namespace ffi = xla::ffi;

constexpr int kLooks = 1000;  // about 50 us of polling

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Fewest values of a task: below that, handing it over costs more than doing it.
constexpr int64_t kGrain = 8192;

// Tasks of `values` values each to hand over at once.
inline int64_t Together(int64_t values) { return kGrain / std::clamp<int64_t>(values, 1, kGrain); }

// Calls f(0), ..., f(tasks - 1) on the pool and on this thread, `together` tasks at a time. It
// waits only for tasks that have begun, so callers cannot deadlock a busy pool. `together` tasks or
// fewer run on this thread alone.
template <typename F>
void ParallelFor(ffi::ThreadPool& pool, int64_t tasks, F f, int64_t together = 1) {
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable all_done;
  };
  const int64_t runs = (tasks + together - 1) / together;
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), runs) - 1;
  if (helpers < 1) {
    for (int64_t i = 0; i < tasks; ++i) f(i);
    return;
  }
  auto shared = std::make_shared<Shared>();
  // A helper that starts late finds no task and touches only `shared`.
  auto work = [shared, tasks, runs, together](F* f) {
    for (int64_t run; (run = shared->next.fetch_add(1)) < runs;) {
      const int64_t end = std::min(tasks, (run + 1) * together);
      for (int64_t i = run * together; i < end; ++i) (*f)(i);
      if (shared->done.fetch_add(1) + 1 == runs) {
        std::lock_guard<std::mutex> lock(shared->mutex);
        shared->all_done.notify_all();
      }
    }
  };
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule([work, f = &f] { work(f); });
  work(&f);
  // Helpers usually finish soon, and polling is faster than being woken up.
  for (int i = 0; i < kLooks && shared->done.load() < runs; ++i) Pause();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done.load() == runs; });
}

}  // namespace ecanet
