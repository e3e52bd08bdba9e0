// The same as verify.py, with Stripe's official Node library.

const Stripe = require('stripe');

const stripe = new Stripe('sk_test_unused');

const sign = (payload, secret) => stripe.webhooks.generateTestHeaderString({ payload, secret });

async function post(url, body, header) {
  const headers = { 'Stripe-Signature': header, 'Content-Type': 'application/json; charset=utf-8' };
  return (await fetch(url, { method: 'POST', body, headers })).status;
}

function refuses(body, header, secret) {
  try {
    stripe.webhooks.constructEvent(body, header, secret);
  } catch (error) {
    if (error instanceof Stripe.errors.StripeSignatureVerificationError) return true;
    throw error;
  }
  return false;
}

async function main() {
  const { url, secret, body, header } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const theirs = sign(body, secret);
  const tampered = body.replace('cus_1', 'cus_2');
  console.log(JSON.stringify({
    library: `stripe-node ${Stripe.PACKAGE_VERSION}`,
    good: await post(url, body, theirs),
    other_body: await post(url, tampered, theirs),
    other_secret: await post(url, body, sign(body, `${secret}x`)),
    read: stripe.webhooks.constructEvent(body, header, secret).id,
    refused: refuses(tampered, header, secret),
  }));
}

main();
