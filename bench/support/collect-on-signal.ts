// Loaded into the product and into the bare server alike, where the memory of waiting requests is compared.
process.on('SIGUSR2', () => {
  const { gc } = globalThis as { gc?: () => void }
  gc?.()
  gc?.()
})
