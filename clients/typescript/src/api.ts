// Generated from openapi.json by `npm run generate`; do not edit.

export interface paths {
    "/v1/account": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Delete your account
         * @description The response means that profile, quizzes and plans are deleted. Queued jobs are
         *     cancelled before a provider is called, and running ones are stopped. Jobs, replies,
         *     stored responses, notices and links to customers are erased within a day. The cost of
         *     calls is kept without your id. The login belongs to the app, which deletes it itself.
         *     Idempotent.
         */
        delete: operations["delete_v1_account"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/account/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Export your data
         * @description One JSON document with all data kept about you: profile, quizzes, plans, jobs and
         *     spending. It is sent while it is read; if it ends early, it is not valid JSON, and the
         *     request must be repeated.
         */
        get: operations["get_v1_account_export"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing/checkout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Buy a subscription
         * @description Answers with the URL of a payment page at Stripe. The user has the subscription once
         *     Stripe reports the payment.
         */
        post: operations["post_v1_billing_checkout"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing/portal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Manage your subscription
         * @description Answers with the URL of a page at Stripe for managing cards, invoices and the
         *     subscription.
         */
        post: operations["post_v1_billing_portal"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Your jobs
         * @description Newest first, by page; without their plans and attempts.
         */
        get: operations["get_v1_jobs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * One job
         * @description With `Prefer: wait=N` the response is sent at the next change: of the version in
         *     `If-None-Match`, or of the current one.
         */
        get: operations["get_v1_jobs_id"];
        put?: never;
        post?: never;
        /**
         * Cancel a job
         * @description A waiting job ends at once; the provider call of a running one is dropped.
         */
        delete: operations["delete_v1_jobs_id"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A job's events as they happen
         * @description Server-sent events: those after the client's last one, then each new one; the stream
         *     ends after the job's last. A client that has them all gets 204, after which an
         *     `EventSource` does not reconnect.
         */
        get: operations["get_v1_jobs_id_events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plans": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Request plans
         * @description Accepts one job per kind and answers with the nutrition targets at once; with `Prefer:
         *     wait=N`, when the plans are saved if that is in time.
         */
        post: operations["post_v1_plans"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/plans/{kind}/active": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Your active plan */
        get: operations["get_v1_plans_kind_active"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Your remaining quotas */
        get: operations["get_v1_usage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description A deleted account. */
        AccountDeleted: {
            /**
             * Format: date-time
             * @description From this time on no job of the account is sent to a provider.
             */
            deleted_at: string;
            /**
             * Format: date-time
             * @description By this time only spending is left, without the user.
             */
            gone_by: string;
        };
        /**
         * @description All data kept about a user. Used only for the schema, because the response is written
         *     row by row.
         */
        AccountExport: {
            /**
             * Format: date-time
             * @description The time of the export.
             */
            exported_at: string;
            /** @description Jobs, newest first, as in lists. */
            jobs: components["schemas"]["JobView"][];
            /** @description Meal plans as the app stores them. */
            meal_plans: Record<string, never>[];
            /** @description The profile as the app stores it; null if there is none. */
            profile?: Record<string, never> | null;
            /** @description Quizzes with their answers, and the targets computed from them. */
            quizzes: Record<string, never>[];
            /** @description The tokens and cost of each paid call. */
            usage: Record<string, never>[];
            /**
             * Format: uuid
             * @description The user.
             */
            user_id: string;
            /** @description Workout plans as the app stores them. */
            workout_plans: Record<string, never>[];
        };
        /** @description A user's active plan. */
        ActivePlanView: {
            /**
             * Format: uuid
             * @description The plan's id.
             */
            id: string;
            /** @description The plan, in the app's own format. */
            plan: unknown;
            /**
             * Format: uuid
             * @description Its quiz.
             */
            quiz_result_id?: string | null;
        };
        /** @description One provider call. */
        AttemptView: {
            /**
             * @description For operators: the cost is an estimate, because the provider's counts were missing
             *     or impossible.
             */
            cost_estimated?: boolean | null;
            /**
             * Format: double
             * @description Its cost, in US dollars.
             */
            cost_usd: number;
            /**
             * @description The error for people: the class of failure. Operators see the provider's own text,
             *     without anything that looks like a secret.
             */
            error?: string | null;
            /**
             * Format: date-time
             * @description When the reply arrived, or the call was given up.
             */
            finished_at?: string | null;
            /**
             * Format: int32
             * @description HTTP status of the provider, where there was one.
             */
            http_status?: number | null;
            /**
             * Format: int64
             * @description Prompt tokens.
             */
            input_tokens: number;
            /** @description The model. */
            model: string;
            /**
             * Format: int32
             * @description 1, 2, 3 … over the whole life of the job.
             */
            n: number;
            /** @description `ok`, or the class of the failure; null until the reply is judged. */
            outcome?: string | null;
            /**
             * Format: int64
             * @description Output tokens.
             */
            output_tokens: number;
            /** @description The provider. */
            provider: string;
            /**
             * Format: date-time
             * @description When the call began.
             */
            started_at: string;
        };
        /** @description The callback of a job. */
        CallbackView: {
            /**
             * Format: int32
             * @description How often it was sent.
             */
            attempts: number;
            /** @description Why the latest try failed, for people. */
            error?: string | null;
            /**
             * Format: int32
             * @description The status of the receiver's latest response, if there was one.
             */
            http_status?: number | null;
            /**
             * Format: date-time
             * @description Not sent again before this time.
             */
            next_attempt_at?: string | null;
            /**
             * Format: date-time
             * @description When it was delivered or became dead.
             */
            settled_at?: string | null;
            /**
             * @description `pending` until the job ends, `waiting` until the receiver has accepted it, then
             *     `delivered`, `gone` (the receiver answered 410) or `dead` (all tries failed).
             */
            state: string;
        };
        /** @description Something to be careful about. */
        Caution: {
            /** @description Stable, for programs. */
            code: components["schemas"]["Code"];
            /**
             * @description In English, for people.
             * @example You are under 18 and still growing: the plan has no calorie deficit. Ask a doctor before you try to lose weight.
             */
            text: string;
        };
        /** @description The offer, and the return URLs. */
        Checkout: {
            /** @description The return URL without paying, on one of the app's own origins. */
            cancel_url?: string | null;
            /** @description One of this deployment's offers; the first by default. */
            plan?: string | null;
            /**
             * @description The return URL after paying, on one of the app's own origins. May contain
             *     `{CHECKOUT_SESSION_ID}`.
             */
            success_url?: string | null;
        };
        /**
         * @description Why a plan is cautious. The docs of each name its source.
         * @enum {string}
         */
        Code: "Under18" | "Pregnancy" | "Breastfeeding" | "Underweight" | "TargetUnderweight" | "GoalContradiction" | "EatingDisorder" | "FastLoss" | "Diabetes" | "Kidney" | "Heart" | "WarfarinVitaminK" | "MaoiTyramine" | "StatinGrapefruit" | "CalciumBlockerGrapefruit" | "ImmunosuppressantGrapefruit" | "LevothyroxineTiming" | "Potassium" | "LithiumSalt" | "BloodSugar" | "Sglt2LowCarb" | "Alcohol" | "TetracyclineDairy";
        /** @description A request for plans. */
        CreatePlans: {
            /** @description The quiz. */
            answers: components["schemas"]["QuizAnswers"];
            /**
             * @description Gets a signed POST at the end of each job (see the webhook `jobEnded`): an https
             *     URL on a public host.
             */
            callback_url?: string | null;
            /** @description The kinds of plans; both by default. */
            kinds?: components["schemas"]["PlanKind"][];
            /** @description Its model. */
            model?: string | null;
            /** @description The first provider to call: openai, anthropic, gemini or llama. */
            provider?: string | null;
            /**
             * Format: uuid
             * @description The stored quiz these answers belong to.
             */
            quiz_result_id?: string | null;
            /**
             * Format: uuid
             * @description The user, if a trusted backend calls.
             */
            user_id?: string | null;
        };
        /** @description Measures as the person entered them, with units. */
        Display: {
            /** @description Height, e.g. `170.0 cm` or `5'10"`. */
            height: string;
            /** @description Target weight, e.g. `165.3 lbs`. */
            targetWeight: string;
            /** @description Current weight, e.g. `80.0 kg`. */
            weight: string;
        };
        /** @description One invalid field. */
        FieldError: {
            /** @description What is wrong and what would be valid. */
            message: string;
            /** @description JSON pointer (RFC 6901) into the request body. */
            pointer: string;
        };
        /** @description The month of generations. */
        GenerationUsage: {
            /**
             * Format: int64
             * @description The plan's generations per month.
             */
            allowed: number;
            /** @description False if this deployment does not enforce the number. */
            enforced: boolean;
            /**
             * Format: int64
             * @description The remaining generations.
             */
            left: number;
            /**
             * Format: date-time
             * @description When the count restarts from zero.
             */
            resets_at: string;
            /**
             * Format: int64
             * @description Counted generations; those that failed because of the service are not counted.
             */
            used: number;
        };
        /** @description Why a job ended without a plan. */
        JobErrorView: {
            /** @description The failure code. */
            code: string;
            /** @description The text for people. */
            detail: string;
        };
        /** @description One event of the stream. */
        JobEventFrame: {
            /** @description As JSON: `seq`, `at`, `kind` and the details of that kind as `data`. */
            data: string;
            /** @description Its kind, such as `attempt_started`. */
            event: string;
            /** @description Its number within the job: 1, 2, 3 … without gaps. */
            id: string;
        };
        /** @description A job in the response to a submission. */
        JobLink: {
            /**
             * Format: uuid
             * @description The job.
             */
            id: string;
            /** @description The kind of plan. */
            kind: components["schemas"]["PlanKind"];
            /** @description Its links. */
            links: components["schemas"]["Links"];
            /** @description Its state: `queued`. */
            status: string;
        };
        /** @description A page of jobs. */
        JobPage: {
            /** @description Newest first, without their plans. */
            jobs: components["schemas"]["JobView"][];
            /** @description The cursor of the next page; absent on the last one. */
            next_cursor?: string | null;
        };
        /**
         * @description The state of a job.
         * @enum {string}
         */
        JobState: "queued" | "running" | "succeeded" | "failed" | "cancelled" | "expired";
        /** @description A job as its owner sees it. */
        JobView: {
            /** @description Every provider call, oldest first, with its error; not in lists. */
            attempts?: components["schemas"]["AttemptView"][] | null;
            callback?: components["schemas"]["CallbackView"] | null;
            /** @description The cautions that the plan is built with. */
            cautions?: components["schemas"]["Caution"][];
            /**
             * Format: int32
             * @description How often a worker has claimed it.
             */
            claims: number;
            /**
             * Format: double
             * @description Its cost so far, in US dollars.
             */
            cost_usd: number;
            /**
             * Format: date-time
             * @description When it was accepted.
             */
            created_at: string;
            error?: components["schemas"]["JobErrorView"] | null;
            /**
             * Format: int64
             * @description Seconds until it probably starts, by the pace of the last minute; absent while no
             *     job ends. Changes without a new ETag.
             */
            eta_seconds?: number | null;
            /**
             * Format: date-time
             * @description It expires if it has not started by then.
             */
            expires_at?: string | null;
            /**
             * Format: date-time
             * @description When it ended.
             */
            finished_at?: string | null;
            /**
             * Format: uuid
             * @description Its id.
             */
            id: string;
            /** @description The kind of plan. */
            kind: components["schemas"]["PlanKind"];
            /** @description Its links. */
            links: components["schemas"]["Links"];
            /** @description The model of the plan. */
            model?: string | null;
            /**
             * Format: date-time
             * @description Not before this time, while it waits for another round.
             */
            next_attempt_at?: string | null;
            /** @description The plan, once it is saved; not in lists. */
            plan?: Record<string, never> | null;
            /**
             * Format: int64
             * @description Its place in the queue while it waits for a worker: 1 is next, 10,000 is that or
             *     further. The queue is that of its class (paying users have their own). Only a few
             *     of your jobs are in it at once; the others follow behind it, oldest first. Changes
             *     without a new ETag.
             */
            position?: number | null;
            /** @description The provider of the plan. */
            provider?: string | null;
            /**
             * Format: uuid
             * @description Its stored quiz.
             */
            quiz_result_id?: string | null;
            /**
             * Format: int32
             * @description How often all providers failed in a round.
             */
            rounds: number;
            /** @description The current stage. */
            stage: string;
            /**
             * Format: date-time
             * @description When a worker first claimed it.
             */
            started_at?: string | null;
            /** @description Its state. */
            status: components["schemas"]["JobState"];
            /**
             * @description Words of answers about food and injuries that were not understood, and so are not checked.
             *     Once a provider was asked about them, these are fewer than in the response to the
             *     request.
             */
            warnings?: components["schemas"]["Unread"][];
        };
        /** @description The paths of one job. */
        Links: {
            /** @description DELETE cancels it; absent once it has ended. */
            cancel?: string | null;
            /** @description Its events as they happen. */
            events: string;
            /** @description The active plan of its kind: the one this job made, until a newer one. */
            plan?: string | null;
            /** @description Its status. */
            self: string;
        };
        /**
         * @description Grams a day of each macronutrient, and their shares of the energy in
         *     percent.
         */
        Macros: {
            /**
             * Format: int32
             * @description Carbohydrate in g.
             */
            carbs_g: number;
            /**
             * Format: int32
             * @description Carbohydrate's share in percent.
             */
            carbs_pct_of_calories: number;
            /**
             * Format: int32
             * @description Fat in g.
             */
            fat_g: number;
            /**
             * Format: int32
             * @description Fat's share in percent.
             */
            fat_pct_of_calories: number;
            /**
             * Format: int32
             * @description Protein in g.
             */
            protein_g: number;
            /**
             * Format: int32
             * @description Protein's share in percent.
             */
            protein_pct_of_calories: number;
        };
        /**
         * @description A length or a weight, best as `{"cm": "175"}`, `{"ft": "5", "inch": "10"}`, `{"kg":
         *     "80.0"}` or `{"lbs": "176.4"}`; a bare number is in cm or kg.
         *
         *     Members may be named by any unit (`m`, `feet`, `inches`, `pounds`, `st`, …) or be
         *     `value` and `unit`. Text may be as people write it: `1.75 m`, `1m75`, `5′10″`, `5 feet
         *     10 inches`, `70 in`, `11 st 4 lb`, with decimal comma, in the digits and the unit
         *     words of the most common languages. Members that are blank, zero or NaN count as
         *     absent. An unknown member, members that contradict each other, and ambiguous forms
         *     (`5.9`, `70-75 kg`, `160 Pfund`) are refused with a 422 that shows the possible
         *     readings, each in an accepted form.
         */
        Measure: components["schemas"]["Units"] | string | number;
        /** @description A configured model that is retired or retires soon. */
        ModelWarning: {
            /** @description Its id. */
            model: string;
            /** @description Its provider. */
            provider: string;
            /** @description Whether that day has come. */
            retired: boolean;
            /**
             * Format: date
             * @description The day on which it retires or retired.
             */
            retires_on: string;
            /** @description The model that is called instead from then on. */
            successor?: string | null;
        };
        /** @description All targets of one person. */
        Nutrition: {
            /**
             * Format: double
             * @description Expenditure over basal rate, two decimals.
             */
            activityMultiplier: number;
            /**
             * Format: double
             * @description Body mass index in kg/m², one decimal.
             */
            bmi: number;
            /**
             * Format: double
             * @description Basal metabolic rate in kcal a day, two decimals.
             */
            bmr: number;
            /**
             * Format: double
             * @description Body fat in percent: as the person gave it, or estimated to one decimal.
             */
            bodyFatPercentage?: number | null;
            /** @description Measures in the person's own units. */
            display: components["schemas"]["Display"];
            /**
             * Format: int64
             * @description Weeks until the target weight, if intake differs from expenditure.
             */
            estimatedWeeks?: number | null;
            /**
             * Format: int32
             * @description Energy to eat a day in kcal.
             */
            goalCalories: number;
            /** @description The division of the goal calories. */
            macros: components["schemas"]["Macros"];
            /**
             * Format: int32
             * @description Target weight in whole kg.
             */
            targetWeight: number;
            /**
             * Format: double
             * @description Total daily energy expenditure in kcal, two decimals.
             */
            tdee: number;
        };
        /**
         * @description The kinds of plans.
         * @enum {string}
         */
        PlanKind: "meal" | "workout";
        /** @description Accepted jobs, and the person's targets. */
        PlansAccepted: {
            /** @description Cautions; the plans are built for safe targets. */
            cautions: components["schemas"]["Caution"][];
            /** @description One job per requested kind. */
            jobs: components["schemas"]["JobLink"][];
            /** @description Energy and macro targets. */
            nutrition: components["schemas"]["Nutrition"];
            /** @description Words of answers about food and injuries that were not understood, and so are not checked. */
            warnings: components["schemas"]["Unread"][];
        };
        /** @description Ended jobs, with their plans. */
        PlansDone: {
            /** @description Cautions; the plans are built for safe targets. */
            cautions: components["schemas"]["Caution"][];
            /** @description One job per requested kind. */
            jobs: components["schemas"]["JobView"][];
            /** @description Energy and macro targets. */
            nutrition: components["schemas"]["Nutrition"];
            /** @description Words of answers about food and injuries that were not understood, and so are not checked. */
            warnings: components["schemas"]["Unread"][];
        };
        /** @description The return URL. */
        Portal: {
            /** @description On one of the app's own origins. */
            return_url?: string | null;
        };
        /** @description The body of every error (RFC 9457). */
        Problem: {
            /** @description The problem type as a stable word for programs. */
            code: string;
            /** @description What happened and what to do next. */
            detail: string;
            /** @description The invalid fields, for validation errors. */
            errors?: components["schemas"]["FieldError"][];
            /** @description The request id, to quote when asking for help. */
            instance: string;
            /**
             * Format: int32
             * @description The HTTP status, repeated.
             */
            status: number;
            /** @description The problem type in words; the same for every occurrence. */
            title: string;
            /** @description A URI that names the problem type. */
            type: string;
            /** @description The names of the limits that were reached, as in `RateLimit-Policy`. */
            "violated-policies"?: string[];
        };
        /**
         * @description The answers of one person, as the app sends them. Numbers may be sent as text, lists
         *     as comma-separated text; other fields are stored.
         * @example {
         *       "age": "34",
         *       "gender": "female",
         *       "country": "Portugal",
         *       "height": {
         *         "cm": "168"
         *       },
         *       "currentWeight": {
         *         "kg": "71.5"
         *       },
         *       "targetWeight": {
         *         "kg": "65"
         *       },
         *       "waist": {
         *         "cm": "78"
         *       },
         *       "hip": {
         *         "cm": "101"
         *       },
         *       "neck": {
         *         "cm": "33"
         *       },
         *       "mainGoal": "Weight loss",
         *       "secondaryGoals": [
         *         "Improve endurance"
         *       ],
         *       "timeFrame": "3 months",
         *       "lifestyle": "Moderately active",
         *       "occupation_activity": "Desk job",
         *       "groceryBudget": "Medium (moderate)",
         *       "dietaryStyle": "Vegetarian",
         *       "mealsPerDay": "3 (standard)",
         *       "motivationLevel": 8,
         *       "stressLevel": 4,
         *       "sleepQuality": "Good (7-8 hours)",
         *       "foodAllergies": "peanuts",
         *       "dislikedFoods": "mushrooms",
         *       "exerciseFrequency": "3-4 times/week",
         *       "preferredExercise": [
         *         "Strength training",
         *         "Running"
         *       ],
         *       "trainingEnvironment": [
         *         "Gym"
         *       ],
         *       "equipment": [
         *         "Dumbbells"
         *       ],
         *       "cookingSkill": "Intermediate",
         *       "cookingTime": "15-30 minutes"
         *     }
         */
        QuizAnswers: {
            /**
             * @description Whole years, 13 to 120; text such as `34 years` is accepted, a date of birth is
             *     not.
             */
            age: components["schemas"]["TextOrNumber"];
            /**
             * Format: double
             * @description Percent, if known; zero counts as unknown.
             */
            bodyFat?: number | null;
            bodyType?: string | null;
            challenges?: string[] | null;
            cookingSkill: string;
            cookingTime: string;
            country?: string | null;
            /** @description 25 to 500 kg. */
            currentWeight: components["schemas"]["Measure"];
            /** @description Such as No restrictions, Vegetarian, Vegan, Keto. */
            dietaryStyle: string;
            dislikedFoods?: string | null;
            equipment?: string[] | null;
            /** @description Such as 3-4 times/week. */
            exerciseFrequency: string;
            foodAllergies?: string | null;
            /** @description Free text; male and female select the formulas. */
            gender: string;
            groceryBudget: string;
            healthConditions?: string[] | null;
            healthConditions_other?: string | null;
            /** @description Body height, 100 to 275 cm. */
            height: components["schemas"]["Measure"];
            hip?: components["schemas"]["Measure"] | null;
            injuries?: string | null;
            lifestyle: string;
            /**
             * @description The language of the plan, as a BCP 47 tag such as "de" or "pt-BR"; by default the
             *     country's, if it has one common language, otherwise English.
             */
            locale?: string | null;
            /** @description Such as Weight loss, Build muscle, Maintain weight. */
            mainGoal: string;
            /** @description Such as 3 (standard). */
            mealsPerDay: string;
            medications?: string | null;
            /** Format: int32 */
            motivationLevel: number;
            neck?: components["schemas"]["Measure"] | null;
            /** @description How active the job is. */
            occupation_activity?: string | null;
            preferredExercise: string[];
            secondaryGoals?: string[] | null;
            sleepQuality: string;
            /** Format: int32 */
            stressLevel: number;
            /** @description 25 to 500 kg. */
            targetWeight: components["schemas"]["Measure"];
            /** @description Such as 3 months. */
            timeFrame: string;
            /** @description Such as Gym, Home. */
            trainingEnvironment: string[];
            waist?: components["schemas"]["Measure"] | null;
        };
        /** @description One rate limit. */
        RateUsage: {
            /** @description False if exceeding it is only reported to operators. */
            enforced: boolean;
            /**
             * Format: int64
             * @description Seconds until one more is possible; absent while the quota is full.
             */
            next_in_seconds?: number | null;
            /** @description Its name, as in `RateLimit-Policy`. */
            policy: string;
            /**
             * Format: int32
             * @description Requests per window.
             */
            quota: number;
            /**
             * Format: int32
             * @description Requests possible now.
             */
            remaining: number;
            /**
             * Format: int64
             * @description The window in seconds.
             */
            window_seconds: number;
        };
        /** @description A page at Stripe. */
        SessionUrl: {
            /** @description Its URL; valid for a short time. */
            url: string;
        };
        /** @description The cost. */
        Spend: {
            /**
             * Format: int64
             * @description Millionths of a US dollar since the month began, in UTC.
             */
            month_usd_micros: number;
        };
        /** @description A number, or a number as text. */
        TextOrNumber: string | number;
        /** @description One unit, feet with inches, or stones with pounds. */
        Units: {
            cm?: components["schemas"]["TextOrNumber"] | null;
            ft?: components["schemas"]["TextOrNumber"] | null;
            inch?: components["schemas"]["TextOrNumber"] | null;
            kg?: components["schemas"]["TextOrNumber"] | null;
            lbs?: components["schemas"]["TextOrNumber"] | null;
            st?: components["schemas"]["TextOrNumber"] | null;
        };
        /** @description A warning about an answer: words that were not understood, or an adjustment. */
        Unread: {
            /**
             * @description The answer, as an RFC 6901 pointer into the request.
             * @example /answers/foodAllergies
             */
            pointer: string;
            /**
             * @description The consequence for the plan, for people.
             * @example These words were not understood. The plan is checked for them as they are written, and for nothing they may mean: name the foods in other words.
             */
            text: string;
            /** @description The words, in plain letters; none for an adjusted answer. */
            words: string[];
        };
        /** @description A user's limits and the remaining quotas. */
        Usage: {
            /** @description The plan's monthly generations. */
            generations: components["schemas"]["GenerationUsage"];
            /** @description How often requests may be sent. */
            rates: components["schemas"]["RateUsage"][];
            /** @description Configured models that are retired or retire soon. */
            retiring_models: components["schemas"]["ModelWarning"][];
            /** @description The cost of this month's generations. */
            spend: components["schemas"]["Spend"];
            /** @description `free` or `pro`: which limits apply. */
            tier: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    delete_v1_account: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccountDeleted"];
                };
            };
        };
    };
    get_v1_account_export: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccountExport"];
                };
            };
        };
    };
    post_v1_billing_checkout: {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes repeating safe: the same key and body get the same session for 24 h */
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Checkout"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionUrl"];
                };
            };
        };
    };
    post_v1_billing_portal: {
        parameters: {
            query?: never;
            header?: {
                /** @description As on /v1/billing/checkout */
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Portal"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionUrl"];
                };
            };
        };
    };
    get_v1_jobs: {
        parameters: {
            query?: {
                /** @description Only in this state. */
                status?: components["schemas"]["JobState"];
                /** @description Only of this kind. */
                kind?: components["schemas"]["PlanKind"];
                /** @description The highest number, up to 100. */
                limit?: number;
                /** @description `next_cursor` of the previous page. */
                cursor?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobPage"];
                };
            };
        };
    };
    get_v1_jobs_id: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description wait=N waits up to 60 s for the job's next change
                 * @example wait=30
                 */
                Prefer?: string | null;
                /** @description The ETag of the client's version */
                "If-None-Match"?: string | null;
            };
            path: {
                /** @description The job */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobView"];
                };
            };
            /** @description It has not changed */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    delete_v1_jobs_id: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The job */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Cancelled */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobView"];
                };
            };
        };
    };
    get_v1_jobs_id_events: {
        parameters: {
            query?: {
                /**
                 * @description The same as the header `Last-Event-ID`, which takes precedence. An invalid id
                 *     counts as absent, in both.
                 * @example 3
                 */
                last_event_id?: string;
            };
            header?: {
                /**
                 * @description The id of the last event received; none is missed or repeated. What is no event's id counts as absent
                 * @example 3
                 */
                "Last-Event-ID"?: string | null;
            };
            path: {
                /** @description The job */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Each event's id is its number in the job's history */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["JobEventFrame"];
                };
            };
            /** @description The job has ended, and the client has every event */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    post_v1_plans: {
        parameters: {
            query?: never;
            header?: {
                /** @description Makes repeating safe: the same key and body get the same answer for 24 h, whatever limit has been reached since */
                "Idempotency-Key"?: string | null;
                /**
                 * @description wait=N waits up to 60 s until the plans are done
                 * @example wait=30
                 */
                Prefer?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "answers": {
                 *         "age": "34",
                 *         "gender": "female",
                 *         "country": "Portugal",
                 *         "height": {
                 *           "cm": "168"
                 *         },
                 *         "currentWeight": {
                 *           "kg": "71.5"
                 *         },
                 *         "targetWeight": {
                 *           "kg": "65"
                 *         },
                 *         "waist": {
                 *           "cm": "78"
                 *         },
                 *         "hip": {
                 *           "cm": "101"
                 *         },
                 *         "neck": {
                 *           "cm": "33"
                 *         },
                 *         "mainGoal": "Weight loss",
                 *         "secondaryGoals": [
                 *           "Improve endurance"
                 *         ],
                 *         "timeFrame": "3 months",
                 *         "lifestyle": "Moderately active",
                 *         "occupation_activity": "Desk job",
                 *         "groceryBudget": "Medium (moderate)",
                 *         "dietaryStyle": "Vegetarian",
                 *         "mealsPerDay": "3 (standard)",
                 *         "motivationLevel": 8,
                 *         "stressLevel": 4,
                 *         "sleepQuality": "Good (7-8 hours)",
                 *         "foodAllergies": "peanuts",
                 *         "dislikedFoods": "mushrooms",
                 *         "exerciseFrequency": "3-4 times/week",
                 *         "preferredExercise": [
                 *           "Strength training",
                 *           "Running"
                 *         ],
                 *         "trainingEnvironment": [
                 *           "Gym"
                 *         ],
                 *         "equipment": [
                 *           "Dumbbells"
                 *         ],
                 *         "cookingSkill": "Intermediate",
                 *         "cookingTime": "15-30 minutes"
                 *       }
                 *     }
                 */
                "application/json": components["schemas"]["CreatePlans"];
            };
        };
        responses: {
            /** @description Done within the time to wait */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PlansDone"];
                };
            };
            /** @description Accepted, in progress */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PlansAccepted"];
                };
            };
        };
    };
    get_v1_plans_kind_active: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description meal or workout */
                kind: components["schemas"]["PlanKind"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ActivePlanView"];
                };
            };
        };
    };
    get_v1_usage: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Usage"];
                };
            };
        };
    };
}
