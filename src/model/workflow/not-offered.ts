/** What is said of a feature that GitHub has and Fleetfoot has not. Apart from `problems.ts`, which brings the parser of workflow files with it. */
export function notOffered(feature: string): string {
  return `'${feature}' is not offered by this version of Fleetfoot yet`
}
