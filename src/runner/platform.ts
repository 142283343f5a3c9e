import { arch, platform } from 'node:os'

/** The system's name as labels and `runner.os` spell it; a system without an official runner keeps its own. */
export function runnerOs(): string {
  const names: Record<string, string> = { linux: 'Linux', darwin: 'macOS', win32: 'Windows' }
  return names[platform()] ?? platform()
}

/** The architecture's name as labels and `runner.arch` spell it. */
export function runnerArchitecture(): string {
  const names: Record<string, string> = { x64: 'X64', arm64: 'ARM64', arm: 'ARM', ia32: 'X86' }
  return names[arch()] ?? arch().toUpperCase()
}
