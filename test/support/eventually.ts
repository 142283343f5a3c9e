/** Waits for a state, never for a time: asks again until the check passes or gives a value, and fails with its last error. */
export async function eventually<T>(check: () => Promise<T> | T, { withinMs = 20_000 }: { withinMs?: number } = {}): Promise<T> {
  const deadline = Date.now() + withinMs
  for (;;) {
    try {
      return await check()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}
