//! Private key files: what is read is written and read again as the same key.

use convocate::ssh::keys::KeyPair;

pub fn run(input: &[u8]) {
    match KeyPair::parse_openssh(input) {
        Ok(pair) => {
            let file = pair.to_openssh("again", 0x0102_0304);
            let again = KeyPair::parse_openssh(file.as_bytes()).expect("what we write we read");
            assert_eq!(again.public(), pair.public());
            let signature = again.sign(input);
            assert_eq!(pair.public().verify(input, &signature), Ok(()));
        }
        Err(error) => assert!(error.to_string().len() < 1024, "a message of bounded length"),
    }
}
