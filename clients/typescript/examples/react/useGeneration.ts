/** A React hook: submits a quiz and reports every step until both plans are ready. */
import { useCallback, useEffect, useRef, useState } from "react";
import { ProblemError, RegimenClient } from "regimen-client";
import type { Job, JobEvent, PlanRequest, PlansAccepted } from "regimen-client";

export interface Generation {
  /** `idle`, then `submitting`, `running`, and `done` or `refused`. */
  phase: "idle" | "submitting" | "running" | "done" | "refused";
  /** The targets, warnings and cautions, as soon as the quiz is accepted. */
  accepted?: PlansAccepted;
  /** The latest event of each job, by job id. */
  latest: Record<string, JobEvent>;
  /** The jobs with their plans, at the end. */
  jobs: Job[];
  /** Why the quiz was refused; `error.field("age")` is the text for one field. */
  error?: ProblemError;
}

const IDLE: Generation = { phase: "idle", latest: {}, jobs: [] };

export function useGeneration(client: RegimenClient) {
  const [generation, set] = useState(IDLE);
  const running = useRef<AbortController>(undefined);
  // Leaving the page stops watching; the jobs continue.
  useEffect(() => () => running.current?.abort(), []);

  const start = useCallback(
    async (quiz: PlanRequest) => {
      running.current?.abort();
      const { signal } = (running.current = new AbortController());
      set({ ...IDLE, phase: "submitting" });
      try {
        const jobs = await client.submitAndWatch(quiz, {
          signal,
          onAccepted: (accepted) => set((now) => ({ ...now, phase: "running", accepted })),
          onEvent: (event, job) =>
            set((now) => ({ ...now, latest: { ...now.latest, [job]: event } })),
        });
        set((now) => ({ ...now, phase: "done", jobs }));
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ProblemError)) throw error;
        set((now) => ({ ...now, phase: "refused", error }));
      }
    },
    [client],
  );
  return { generation, start };
}
