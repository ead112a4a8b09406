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

constexpr int kLooks = 1000;  // some 50 us

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Calls f(0), ..., f(tasks - 1) on the pool and on this thread. It waits only for tasks that have
// begun, so a pool that is busy with callers of this function cannot lock up.
template <typename F>
void ParallelFor(ffi::ThreadPool& pool, int64_t tasks, F f) {
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable all_done;
  };
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), tasks) - 1;
  if (helpers < 1) {
    for (int64_t i = 0; i < tasks; ++i) f(i);
    return;
  }
  auto shared = std::make_shared<Shared>();
  // A helper that starts late finds no task left and touches nothing but `shared`.
  auto work = [shared, tasks](F* f) {
    for (int64_t i; (i = shared->next.fetch_add(1)) < tasks;) {
      (*f)(i);
      if (shared->done.fetch_add(1) + 1 == tasks) {
        std::lock_guard<std::mutex> lock(shared->mutex);
        shared->all_done.notify_all();
      }
    }
  };
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule([work, f = &f] { work(f); });
  work(&f);
  // Helpers are usually done soon, and to be woken up takes longer than to look.
  for (int i = 0; i < kLooks && shared->done.load() < tasks; ++i) Pause();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done.load() == tasks; });
}

}  // namespace ecanet
