// Answers to the quiz: the repository's samples, varied for each person.

const SAMPLES = ['sample_quiz.json', 'sample_quiz_imperial.json'].map((file) =>
  open(import.meta.resolve(`../../../common/tests/fixtures/${file}`)),
);

// The answers of person `number`.
export function answers(number) {
  const quiz = JSON.parse(SAMPLES[number % SAMPLES.length]);
  quiz.age = 20 + (number % 45);
  return quiz;
}
