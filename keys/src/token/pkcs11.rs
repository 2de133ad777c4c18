//! The driver that speaks PKCS#11 (<https://docs.oasis-open.org/pkcs11/pkcs11-spec/v3.1/pkcs11-spec-v3.1.html>): the
//! only place that knows the library.
//!
//! A module is foreign code in the process that loads it. It is loaded by the path in the configuration and never by
//! what a key file says.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session as Opened, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::{AuthPin, Ulong};
use kenin_pki::crypto::{DigestAlgorithm, Secret};

use super::driver::{
    Driver, Fault, Handle, KeyTraits, Mechanisms, PinFault, PinFlags, PublicHalf, Seen, Session,
    Signing,
};
use super::uri::TokenUri;

/// A module that is loaded.
pub(crate) struct Module {
    library: Pkcs11,
    /// Whether it was started.
    started: Mutex<bool>,
}

impl Module {
    /// Loads a module. It is started when it is first asked for something, and tried again where that fails.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        Ok(Self {
            library: Pkcs11::new(path).map_err(|error| error.to_string())?,
            started: Mutex::new(false),
        })
    }

    fn start(&self) -> Result<(), Fault> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if !*started {
            self.initialize()?;
            *started = true;
        }
        Ok(())
    }

    fn initialize(&self) -> Result<(), Fault> {
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match self.library.initialize(arguments) {
            // Another part of this process, or an earlier try, has started it.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
            Err(error) => Err(fault(&error)),
        }
    }
}

impl Driver for Module {
    fn tokens(&self) -> Result<Vec<Seen>, Fault> {
        self.start()?;
        let slots = self.library.get_slots_with_token();
        let mut seen = Vec::new();
        for slot in slots.map_err(|error| fault(&error))? {
            // One that is being pulled out hides no other.
            let Ok(token) = self.library.get_token_info(slot) else {
                continue;
            };
            if !token.token_initialized() {
                continue;
            }
            seen.push(Seen {
                slot: slot.id(),
                label: token.label().trim_end().to_owned(),
                manufacturer: token.manufacturer_id().trim_end().to_owned(),
                serial: token.serial_number().trim_end().to_owned(),
                model: token.model().trim_end().to_owned(),
                pin: PinFlags {
                    set: token.user_pin_initialized(),
                    wrong_before: token.user_pin_count_low(),
                    last_try: token.user_pin_final_try(),
                    locked: token.user_pin_locked(),
                    to_change: token.user_pin_to_be_changed(),
                    at_reader: token.protected_authentication_path(),
                },
            });
        }
        Ok(seen)
    }

    fn open(&self, slot: u64) -> Result<Box<dyn Session>, Fault> {
        let slot = Slot::try_from(slot).map_err(|error| fault(&error))?;
        let session = self.library.open_ro_session(slot);
        Ok(Box::new(Talk {
            session: session.map_err(|error| fault(&error))?,
            found: Vec::new(),
        }))
    }

    fn mechanisms(&self, slot: u64) -> Result<Mechanisms, Fault> {
        let slot = Slot::try_from(slot).map_err(|error| fault(&error))?;
        let list = self.library.get_mechanism_list(slot);
        let list = list.map_err(|error| fault(&error))?;
        let can = |wanted: MechanismType| list.contains(&wanted);
        Ok(Mechanisms {
            rsa_raw: can(MechanismType::RSA_X_509),
            rsa_pkcs1: can(MechanismType::RSA_PKCS),
            rsa_pss: can(MechanismType::RSA_PKCS_PSS),
            ecdh: can(MechanismType::ECDH1_DERIVE),
            ecdsa: can(MechanismType::ECDSA),
        })
    }

    fn restart(&self) -> Result<(), Fault> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if *started {
            *started = false;
            // Where it does not end it is started all the same, and says what is wrong.
            let _ = self.library.clone().finalize();
        }
        self.initialize()?;
        *started = true;
        Ok(())
    }
}

/// A session, and what it has found.
struct Talk {
    session: Opened,
    found: Vec<ObjectHandle>,
}

impl Talk {
    fn object(&self, key: Handle) -> Result<ObjectHandle, Fault> {
        let lost = || Fault::Lost("the key was found by another session".to_owned());
        self.found.get(key.0).copied().ok_or_else(lost)
    }

    /// One thing that the token says of an object; nothing where it does not, or where that is empty.
    fn told(&self, object: ObjectHandle, wanted: AttributeType) -> Option<Attribute> {
        let said = self.session.get_attributes(object, &[wanted]).ok()?;
        let said = said.into_iter().next()?;
        let is_empty = match &said {
            Attribute::Id(octets)
            | Attribute::Label(octets)
            | Attribute::Modulus(octets)
            | Attribute::PublicExponent(octets)
            | Attribute::EcParams(octets)
            | Attribute::EcPoint(octets) => octets.is_empty(),
            _ => false,
        };
        (!is_empty).then_some(said)
    }
}

impl Session for Talk {
    fn is_logged_in(&self) -> Result<bool, Fault> {
        let info = self.session.get_session_info();
        let state = info.map_err(|error| fault(&error))?.session_state();
        Ok(matches!(state, SessionState::RoUser | SessionState::RwUser))
    }

    fn log_in(&self, pin: &Secret) -> Result<(), Fault> {
        let text = std::str::from_utf8(pin.expose()).map_err(|_| Fault::Pin(PinFault::Form))?;
        // It wipes its copy.
        let pin = AuthPin::new(text.into());
        match self.session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => Err(fault(&error)),
        }
    }

    fn find(&mut self, object: &TokenUri) -> Result<Vec<Handle>, Fault> {
        let mut template = vec![
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Token(true),
        ];
        template.extend(object.id().map(|id| Attribute::Id(id.to_vec())));
        let label = object.object();
        template.extend(label.map(|label| Attribute::Label(label.as_bytes().to_vec())));
        let found = self.session.find_objects(&template);
        let found = found.map_err(|error| fault(&error))?;
        let first = self.found.len();
        self.found.extend(found);
        Ok((first..self.found.len()).map(Handle).collect())
    }

    fn traits(&self, key: Handle) -> Result<KeyTraits, Fault> {
        let wanted = [
            AttributeType::Decrypt,
            AttributeType::Sign,
            AttributeType::Derive,
            AttributeType::AlwaysAuthenticate,
            AttributeType::Extractable,
        ];
        let object = self.object(key)?;
        let mut traits = KeyTraits::default();
        for one in wanted {
            // What a token does not know it does not say.
            let said = self.session.get_attributes(object, &[one]);
            for attribute in said.unwrap_or_default() {
                match attribute {
                    Attribute::Decrypt(may) => traits.decrypt = Some(may),
                    Attribute::Sign(may) => traits.sign = Some(may),
                    Attribute::Derive(may) => traits.derive = Some(may),
                    Attribute::AlwaysAuthenticate(must) => traits.always_authenticate = Some(must),
                    Attribute::Extractable(can) => traits.extractable = Some(can),
                    _ => {}
                }
            }
        }
        Ok(traits)
    }

    /// From the private key and from the public one of the same id, since tokens differ in what stands where. That both
    /// are halves of one key shows when something is opened.
    fn public(&self, key: Handle) -> Result<PublicHalf, Fault> {
        let own = self.object(key)?;
        let mut places = vec![own];
        let named = [AttributeType::Id, AttributeType::Label];
        let name = named.into_iter().find_map(|one| self.told(own, one));
        if let Some(name) = name {
            let template = [
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::Token(true),
                name,
            ];
            let found = self.session.find_objects(&template);
            places.extend(found.map_err(|error| fault(&error))?);
        }
        let octets = |wanted| {
            let told = |place: &ObjectHandle| match self.told(*place, wanted)? {
                Attribute::Modulus(octets)
                | Attribute::PublicExponent(octets)
                | Attribute::EcParams(octets)
                | Attribute::EcPoint(octets) => Some(octets),
                _ => None,
            };
            places.iter().find_map(told)
        };
        let modulus = octets(AttributeType::Modulus);
        if let (Some(modulus), Some(exponent)) = (modulus, octets(AttributeType::PublicExponent)) {
            return Ok(PublicHalf::Rsa { modulus, exponent });
        }
        let curve = octets(AttributeType::EcParams);
        if let (Some(curve), Some(point)) = (curve, octets(AttributeType::EcPoint)) {
            return Ok(PublicHalf::Ec { curve, point });
        }
        let text = "the token does not show the public half of the key";
        Err(Fault::Unsupported(text.to_owned()))
    }

    fn rsa_raw(&self, key: Handle, ciphertext: &[u8]) -> Result<Secret, Fault> {
        let object = self.object(key)?;
        let block = self
            .session
            .decrypt(&Mechanism::RsaX509, object, ciphertext);
        block.map(Secret::new).map_err(|error| fault(&error))
    }

    fn agree(&self, key: Handle, peer: &[u8], length: usize) -> Result<Secret, Fault> {
        let failed = |error: Error| fault(&error);
        let parameters = Ecdh1DeriveParams::new(EcKdf::null(), peer);
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::ValueLen(Ulong::try_from(length).map_err(failed)?),
        ];
        let mechanism = Mechanism::Ecdh1Derive(parameters);
        let derived = self
            .session
            .derive_key(&mechanism, self.object(key)?, &template)
            .map_err(failed)?;
        let value = self
            .session
            .get_attributes(derived, &[AttributeType::Value]);
        // It would end with the session, which lasts.
        let destroyed = self.session.destroy_object(derived);
        let value = value
            .map_err(failed)?
            .into_iter()
            .find_map(|one| match one {
                Attribute::Value(value) => Some(Secret::new(value)),
                _ => None,
            });
        destroyed.map_err(failed)?;
        let hidden = || Fault::Unsupported("the token does not show what was agreed".to_owned());
        value.ok_or_else(hidden)
    }

    fn sign(&self, key: Handle, how: Signing, octets: &[u8]) -> Result<Vec<u8>, Fault> {
        let mechanism = match how {
            Signing::RsaPkcs1 => Mechanism::RsaPkcs,
            Signing::RsaPss {
                digest,
                mgf,
                salt_len,
            } => {
                let (hash_alg, _) = hash(digest)?;
                let (_, mgf) = hash(mgf)?;
                Mechanism::RsaPkcsPss(PkcsPssParams {
                    hash_alg,
                    mgf,
                    s_len: Ulong::try_from(salt_len).map_err(|error| fault(&error))?,
                })
            }
            Signing::Ecdsa => Mechanism::Ecdsa,
        };
        let signed = self.session.sign(&mechanism, self.object(key)?, octets);
        signed.map_err(|error| fault(&error))
    }
}

/// The names of a digest, by itself and in MGF1.
fn hash(digest: DigestAlgorithm) -> Result<(MechanismType, PkcsMgfType), Fault> {
    match digest {
        DigestAlgorithm::Sha1 => Ok((MechanismType::SHA1, PkcsMgfType::MGF1_SHA1)),
        DigestAlgorithm::Sha256 => Ok((MechanismType::SHA256, PkcsMgfType::MGF1_SHA256)),
        DigestAlgorithm::Sha384 => Ok((MechanismType::SHA384, PkcsMgfType::MGF1_SHA384)),
        DigestAlgorithm::Sha512 => Ok((MechanismType::SHA512, PkcsMgfType::MGF1_SHA512)),
        _ => Err(Fault::Unsupported(
            "tokens are not asked for PSS with this digest".to_owned(),
        )),
    }
}

fn fault(error: &Error) -> Fault {
    let Error::Pkcs11(code, function) = error else {
        return match error {
            Error::NotSupported | Error::NullFunctionPointer => {
                Fault::Unsupported(error.to_string())
            }
            _ => Fault::Lost(error.to_string()),
        };
    };
    let text = format!("{code:?} in C_{function:?}");
    match code {
        RvError::PinIncorrect => Fault::Pin(PinFault::Wrong),
        RvError::PinLocked => Fault::Pin(PinFault::Locked),
        RvError::PinExpired => Fault::Pin(PinFault::Expired),
        RvError::PinInvalid | RvError::PinLenRange => Fault::Pin(PinFault::Form),
        RvError::UserPinNotInitialized => Fault::Pin(PinFault::Unset),
        RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::KeyTypeInconsistent
        | RvError::KeyFunctionNotPermitted
        | RvError::KeySizeRange
        | RvError::FunctionNotSupported
        | RvError::CurveNotSupported
        | RvError::ActionProhibited
        | RvError::AttributeSensitive
        | RvError::AttributeTypeInvalid
        | RvError::AttributeValueInvalid
        | RvError::TemplateIncomplete
        | RvError::TemplateInconsistent => Fault::Unsupported(text),
        RvError::ArgumentsBad
        | RvError::DataInvalid
        | RvError::DataLenRange
        | RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::DomainParamsInvalid
        | RvError::PublicKeyInvalid => Fault::Refused(text),
        _ => Fault::Lost(text),
    }
}
