/** The value below which `share` of the values lie; 0.5 is the median. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new Error('nothing was measured')
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** Wall clock with microseconds, comparable with `Date.now()` of another process of this machine. */
export function wallClock(): number {
  return performance.timeOrigin + performance.now()
}

/** Share of one core that this process used since `begin`: near 1, it is the load that is measured. */
export function loadMeter(): () => number {
  const began = performance.now()
  const before = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000 / (performance.now() - began)
  }
}
