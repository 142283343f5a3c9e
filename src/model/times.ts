const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Every time that the protocols depend on, in milliseconds. Passed like the clock, so that tests shorten it. */
export interface Times {
  /** How long a poll is held open. Never above ~90 s: the runner gives up at 100 s (runner-protocol.md 5.3). */
  pollHeld: number
  /** `lastSeenAt` is written when it is older than this. */
  seenWritten: number
  /** A runner is offline this long after `lastSeenAt`. */
  offlineAfter: number
  /** A job that was given and not acquired goes back in line after this. */
  acquireWithin: number
  /** A second session is refused while the first polled within this. */
  sessionHeld: number
  /** A job whose runner gives no sign of life for this long is lost. */
  lease: number
  /** `renewjob` is still answered this long after the end of the job. */
  renewAfterEnd: number
  /** Logs are still taken this long after the end of the job. */
  uploadAfterEnd: number
  /** The server ends a cancelled job itself this long after the time that its steps were given (`cancel-timeout-minutes`, else 5 minutes). */
  cancelMargin: number
  /** A job without `timeout-minutes`. */
  jobTimeout: number
  /** A job waits in line no longer than this. */
  queueLimit: number
  runnerRemoved: number
  ephemeralRunnerRemoved: number
  /** Nodes touch the pulse row this often. */
  pulseEvery: number
  /** A gap in the pulse above this was an outage: leases move by it. */
  outageAbove: number
  /** Each node looks for all its waiters this often; a lost signal costs no more than this. */
  sweepEvery: number
  runnerToken: number
  registrationToken: number
  installationToken: number
  /** A manifest of an App must be converted within this. */
  appManifest: number
  signedUrl: number
  /** A redirect to a log is valid this long. */
  logRedirect: number
  archiveUrl: number
  /** Job tokens live for the job's limit plus this. */
  jobTokenSlack: number
}

/** The values of the architecture, part 1.14. */
export const defaultTimes: Times = {
  pollHeld: 50 * SECOND,
  seenWritten: 15 * SECOND,
  offlineAfter: 85 * SECOND,
  acquireWithin: 60 * SECOND,
  sessionHeld: 60 * SECOND,
  lease: 85 * SECOND,
  renewAfterEnd: 5 * MINUTE,
  uploadAfterEnd: 5 * MINUTE,
  cancelMargin: 30 * SECOND,
  jobTimeout: 360 * MINUTE,
  queueLimit: 24 * HOUR,
  runnerRemoved: 14 * DAY,
  ephemeralRunnerRemoved: DAY,
  pulseEvery: 2 * SECOND,
  outageAbove: 10 * SECOND,
  sweepEvery: 5 * SECOND,
  runnerToken: HOUR,
  registrationToken: HOUR,
  installationToken: HOUR,
  appManifest: HOUR,
  signedUrl: 24 * HOUR,
  logRedirect: MINUTE,
  archiveUrl: HOUR,
  jobTokenSlack: 30 * MINUTE,
}
